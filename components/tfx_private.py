"""The private parts of TFX, TFT, Beam, TFX-BSL and MLMD that are used, or replaced for a while.

No release has to keep them: tests/components/test_tfx_private.py looks for each of them in
what is installed.  It lies here since lineage and pipeline stand on `components`, and nothing
below may import TFX.  Everything is imported where it is needed: `install_tfx_alone` comes
before TFX, and lineage reads this without it.

What only a subclass can have stays with that: `MetadataStore._call` (`lineage.store.mlmd`),
`Executor._Validate` (`components.example_validator`), `_MarkPushed` and `_MarkNotPushed`
(`components.pusher`), and `_make_beam_pipeline` (`components.example_gen.executor`).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from common.process import lean_imports

_UNUSED = lean_imports.PIPELINE | {"IPython", "ipywidgets", "kubernetes", "pymongo"}
"""What a process does without that runs a pipeline or a part of it."""
_EXECUTORS_OWN = frozenset(
    {"tensorflow", "keras", "tf_keras", "matplotlib", "scipy", "pandas", "pyarrow", "apache_beam"}
)
"""What TFX itself asks for, and does without: it takes its own file system where there is no
TensorFlow."""
_DECLARED = (
    "tensorflow_model_analysis",
    "tensorflow_model_analysis.sdk",
    "tensorflow_data_validation",
    "tensorflow_transform",
)
"""Whose classes TFX names among the parameters of its standard components."""
_BEAM = "apache_beam"
_NOTEBOOK = "tensorflow_model_analysis.notebook", "tensorflow_model_analysis.notebook.visualization"
"""They bring IPython, to draw in a notebook."""
_MOST_EXAMPLES = 1000

Artifacts = Mapping[str, Sequence[Any]]
"""By key of an input or output."""


def install_tfx_alone() -> None:
    """Keeps out all but TFX itself: half a second and not ten, until `complete` is called.

    Call before the first import of any of what is kept out.
    """
    global _absent, _is_installed
    if _is_installed:
        return
    _is_installed = True
    lean_imports.install(_UNUSED)
    _absent = lean_imports.install(_EXECUTORS_OWN)
    for name in (*_DECLARED, *_NOTEBOOK):
        sys.modules[name] = _StandIn(name)
    # Without what its `__init__` brings: every component.
    spec = importlib.util.find_spec("tfx.components")
    assert spec is not None and spec.submodule_search_locations is not None
    bare = ModuleType(spec.name)
    bare.__spec__, bare.__path__ = spec, list(spec.submodule_search_locations)
    sys.modules[spec.name] = bare


def complete() -> None:
    """Lets in, as it is asked for, what executors import; of it all is there from now on.

    What has been imported by then goes on with the real modules, but for the classes that
    it took from a stand-in as it was imported.
    """
    global _absent
    if _absent is None:
        return
    _absent.allow()
    _absent = None
    for name in _DECLARED:
        del sys.modules[name]
    if base_beam_executor := sys.modules.get("tfx.dsl.components.base.base_beam_executor"):
        vars(base_beam_executor)["beam"] = _StandIn(_BEAM)


def install_pipeline() -> None:
    """Keeps out of a process what TFX, Beam and TFMA import and a pipeline never uses."""
    install_tfx_alone()
    complete()


_is_installed = False
_absent: lean_imports.Absent | None = None


def _placeholder(_: object, name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing(name, (), {})


class _Nothing(type):
    __getattr__ = _placeholder


class _StandIn(ModuleType):
    """A module whose every attribute is a class without meaning; the real one, once it may be."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if _absent is None and self.__name__ not in _NOTEBOOK:
            return getattr(importlib.import_module(self.__name__), name)
        return _placeholder(self, name)


def name_tfma_protos() -> None:
    """Gives TFMA the names that TFX's Evaluator knows its messages by.

    TFMA has them where it finds all it asks for; else `tfx.components` adds them.
    """
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import config_pb2

    file = config_pb2.DESCRIPTOR
    for name in (*file.message_types_by_name, *file.enum_types_by_name):
        if not hasattr(tfma, name):
            setattr(tfma, name, getattr(config_pb2, name))


def bound_batches() -> None:
    """Makes TFX's steps hold at most 1,000 examples and about 20 MB at a time.

    TFX-BSL sizes its batches by time alone, up to 1,000 examples: with photographs of a
    megabyte that is a gigabyte, several times over.  Call before a pipeline is built; it
    reaches Beam's workers in what they are given.
    """
    from absl import flags
    from tfx_bsl.coders import batch_util

    flags.set_default(batch_util._USE_BYTE_SIZE_BATCHING, True)
    batch_util._BATCH_SIZE_CAP_WITH_BYTE_TARGET = _MOST_EXAMPLES


def tfrecords() -> Any:
    """Returns Beam's functions that read and write TFRecord files without TensorFlow."""
    from apache_beam.io.tfrecordio import _TFRecordUtil

    return _TFRecordUtil


def write_transform(preprocess: Callable[[Any], Any], schema: Any, target: Path) -> None:
    """Writes a TransformGraph of a function that has nothing to analyse, as TFX's Transform does.

    Args:
      preprocess: from batched features to features.
      schema: of the raw examples.
    """
    from tensorflow_transform import TFTransformOutput, impl_helper
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

    raw = dataset_metadata.DatasetMetadata(schema=schema)
    write: Any = metadata_io.write_metadata
    write(raw, str(target / TFTransformOutput.RAW_METADATA_DIR))
    features = schema_utils.schema_as_feature_spec(schema).feature_spec
    types = impl_helper.get_type_specs_from_feature_specs(features)
    analyze: Any = impl_helper.analyze_in_place
    analyze(preprocess, False, features, types, str(target))


def compile_ir(pipeline: Any, run_id: str | None = None) -> Any:
    """Returns the IR that TFX's runners run; for one run where its id is given."""
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.portable import runtime_parameter_utils

    ir = compiler.Compiler().compile(pipeline)
    if run_id is not None:
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
    return ir


def run_ir(runner: str, ir: Any, beam_options: list[str]) -> None:
    """Runs a compiled pipeline.

    TFX's Beam orchestrator gives the Beam pipeline that starts the components no options, not
    even those of the command line: Beam would ask github.com for Prism at each run.  So its
    module `beam` is replaced by one whose pipelines have some.

    Args:
      runner: "beam" or "local".
      beam_options: of that pipeline.
    """
    complete()  # Beam is wanted
    bound_batches()
    import apache_beam
    from tfx.orchestration.beam import beam_dag_runner
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    def with_options(**options: Any) -> Any:
        return apache_beam.Pipeline(**{"argv": beam_options, **options})

    beam = SimpleNamespace(**{**vars(apache_beam), "Pipeline": with_options})
    runners = {"beam": beam_dag_runner.BeamDagRunner, "local": LocalDagRunner}
    with _replaced(beam_dag_runner, beam=beam):
        runners[runner]().run_with_ir(ir)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A node whose cache was looked up, and that has not begun."""

    node: str
    execution_id: int
    inputs: Artifacts
    properties: Mapping[str, Any]
    caching: bool
    executor: Any
    """The executable spec of TFX's IR."""
    identity: tuple[Any, Any]
    """PipelineInfo and NodeInfo of TFX's IR."""
    cache_key: str
    """The name of the cache's context."""


@contextmanager
def launches_watched(
    launch: Callable[[str, Callable[[], Any]], Any],
    prepared: Callable[[Prepared], None],
    before: Callable[[str], None],
) -> Iterator[None]:
    """Replaces the `Launcher` that both runners make for each node by one that is watched.

    Args:
      launch: called in place of a node's launch, with the node's id and the launch itself,
        which returns an ExecutionInfo; so does this.
      prepared: called with each node, whether it was found in the cache or not.
      before: called with each node that is executed, and not cached.
    """
    from tfx.orchestration.portable import (
        beam_executor_operator,
        launcher,
        python_executor_operator,
    )
    from tfx.utils import import_utils

    def as_called(path: str) -> Callable[..., Any]:
        def executor(**context: Any) -> Any:
            return import_utils.import_class_by_path(path)(**context)

        return executor

    # A step that is cached needs no executor.
    lazy = SimpleNamespace(import_class_by_path=as_called)

    class Launcher(launcher.Launcher):  # type: ignore[misc]
        def launch(self) -> Any:
            if self._executor_operator is None:  # a Resolver: a look-up, not a step
                return super().launch()
            return launch(self._pipeline_node.node_info.id, super().launch)

        def _prepare_execution(self) -> Any:
            result = super()._prepare_execution()
            if result.execution_metadata is None:  # its inputs are not there
                return result
            node, info = self._pipeline_node, result.execution_info
            described = Prepared(
                node=node.node_info.id,
                execution_id=info.execution_id,
                inputs=info.input_dict,
                properties=info.exec_properties,
                caching=bool(node.execution_options.caching_options.enable_cache),
                executor=self._executor_spec,
                identity=(self._pipeline_info, node.node_info),
                cache_key=result.contexts[-1].name,  # the last that the launcher adds
            )
            prepared(described)
            return result

        def _run_executor(self, execution_info: Any) -> Any:
            before(self._pipeline_node.node_info.id)
            complete()
            return super()._run_executor(execution_info)

    with (
        _replaced(launcher, Launcher=Launcher),
        _replaced(beam_executor_operator, import_utils=lazy),
        _replaced(python_executor_operator, import_utils=lazy),
    ):
        yield


@contextmanager
def cache_keys(
    parts: Callable[[Artifacts, Mapping[str, Any]], tuple[Artifacts, Mapping[str, Any]]],
    must_run: Callable[[Mapping[str, Any]], bool],
) -> Iterator[None]:
    """Replaces the functions that TFX's cache makes its keys with and looks them up with.

    Args:
      parts: from a node's input artifacts and parameters, those that its key is made of.  Of
        an artifact that is `mlmd_artifact`.
      must_run: whether a node with these parameters is not looked for in the cache.
    """
    from tfx.orchestration.portable import cache_utils

    make_key, look_up = cache_utils.get_cache_context, cache_utils.get_cached_outputs
    to_run: set[int] = set()

    def get_cache_context(
        *,
        input_artifacts: Artifacts | None = None,
        parameters: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> Any:
        inputs, named = parts(input_artifacts or {}, parameters or {})
        context = make_key(input_artifacts=inputs, parameters=named, **rest)
        (to_run.add if must_run(parameters or {}) else to_run.discard)(context.id)
        return context

    def get_cached_outputs(metadata_handle: Any, cache_context: Any) -> Any:
        if cache_context.id in to_run:
            return None
        return look_up(metadata_handle=metadata_handle, cache_context=cache_context)

    with _replaced(
        cache_utils, get_cache_context=get_cache_context, get_cached_outputs=get_cached_outputs
    ):
        yield


def stores_replaced(store: type) -> AbstractContextManager[None]:
    """Replaces the class of the stores that TFX opens."""
    import ml_metadata

    return _replaced(ml_metadata, MetadataStore=store)


def parse_node(node: Mapping[str, Any], run_id: str) -> Any:
    """Returns a PipelineNode from TFX's IR as JSON, for one run."""
    from google.protobuf import json_format
    from tfx.proto.orchestration import pipeline_pb2

    parsed = json_format.ParseDict(node, pipeline_pb2.PipelineNode())
    for context in parsed.contexts.contexts:
        if context.name.HasField("runtime_parameter"):
            context.name.field_value.string_value = run_id
    return parsed


def register(
    handle: Any, node: Any, inputs: dict[str, Any], properties: dict[str, Any]
) -> tuple[int, Any]:
    """Records that an execution of a node begins, outside TFX's runners and as they do.

    Args:
      handle: TFX's Metadata, open.
      node: see `parse_node`.

    Returns:
      The execution's id, and its contexts, which `publish` takes.
    """
    from tfx.orchestration.portable import execution_publish_utils as publishing
    from tfx.orchestration.portable.mlmd import context_lib

    contexts = context_lib.prepare_contexts(handle, node.contexts)
    type_ = node.node_info.type
    execution = publishing.register_execution(handle, type_, contexts, inputs, properties)
    return execution.id, contexts


def publish(handle: Any, id_: int, contexts: Any, outputs: dict[str, Any], done: Any) -> None:
    """Records that an execution succeeded; `done` is what `run_executor` returned."""
    from tfx.orchestration.portable import execution_publish_utils as publishing

    publishing.publish_succeeded_execution(handle, id_, contexts, outputs, done)


def run_executor(
    executor: Mapping[str, Any],
    scratch: Path,
    beam_options: Callable[[Sequence[str]], list[str]],
    **info: Any,
) -> Any:
    """Runs an executor; returns its ExecutorOutput.

    Args:
      executor: its executable spec of TFX's IR, as JSON.
      scratch: a folder for what it makes besides its outputs.
      beam_options: from those of the spec, those that Beam gets.
      info: fields of TFX's ExecutionInfo.
    """
    from google.protobuf import any_pb2, json_format
    from tfx.orchestration.portable import (
        beam_executor_operator,
        data_types,
        python_executor_operator,
    )
    from tfx.proto.orchestration import executable_spec_pb2

    for folder in ("working", "tmp"):
        (scratch / folder).mkdir()
    execution = data_types.ExecutionInfo(
        execution_output_uri=str(scratch / "executor_output.pb"),
        stateful_working_dir=str(scratch / "working"),
        tmp_dir=str(scratch / "tmp") + "/",
        **info,
    )
    packed = json_format.ParseDict(executor, any_pb2.Any())
    beam = executable_spec_pb2.BeamExecutableSpec()
    if packed.Unpack(beam):
        bound_batches()
        beam.beam_pipeline_args[:] = beam_options(beam.beam_pipeline_args)
        return beam_executor_operator.BeamExecutorOperator(beam).run_executor(execution)
    python = executable_spec_pb2.PythonClassExecutableSpec()
    packed.Unpack(python)
    return python_executor_operator.PythonExecutorOperator(python).run_executor(execution)


@contextmanager
def _replaced(module: ModuleType, **values: Any) -> Iterator[None]:
    """While it lasts, a module has other values."""
    before = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(before)
