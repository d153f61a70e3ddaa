"""The private parts of TFX, TFT, Beam and MLMD are where `components.tfx_private` has them.

Also those of the subclasses that it names; and they take what they are given.

A part that an upgrade has moved fails here and not in a run.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from components import tfx_private
from lineage.questions.runs import _RESOLVERS


def part(path: str) -> Any:
    """What is at "module:name.name"."""
    module, _, names = path.partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found


PORTABLE = "tfx.orchestration.portable"
CALLED = {
    # components.tfx_private
    f"{PORTABLE}.launcher:Launcher.launch": ["self"],
    f"{PORTABLE}.launcher:Launcher._prepare_execution": ["self"],
    f"{PORTABLE}.launcher:Launcher._run_executor": ["self", "execution_info"],
    f"{PORTABLE}.cache_utils:get_cached_outputs": ["metadata_handle", "cache_context"],
    f"{PORTABLE}.runtime_parameter_utils:substitute_runtime_parameter": [
        "msg",
        "parameter_bindings",
    ],
    f"{PORTABLE}.mlmd.context_lib:prepare_contexts": ["metadata_handle", "node_contexts"],
    f"{PORTABLE}.python_executor_operator:PythonExecutorOperator.run_executor": [
        "self",
        "execution_info",
    ],
    "tensorflow_transform.impl_helper:analyze_in_place": [
        *("preprocessing_fn", "force_tf_compat_v1", "feature_specs", "type_specs"),
        "transform_output_path",
    ],
    "tensorflow_transform.impl_helper:get_type_specs_from_feature_specs": [
        *("feature_specs", "ragged_sequence_features"),
    ],
    "tensorflow_transform.tf_metadata.metadata_io:write_metadata": ["metadata", "path"],
    "apache_beam.io.tfrecordio:_TFRecordUtil.write_record": ["file_handle", "value"],
    "apache_beam.io.tfrecordio:_TFRecordUtil.read_record": ["file_handle"],
    # components.driver
    f"{PORTABLE}.base_driver:BaseDriver.__init__": ["self", "mlmd_connection"],
    f"{PORTABLE}.base_driver:BaseDriver.run": ["self", "execution_info"],
    "tfx.dsl.components.base.base_driver:BaseDriver.__init__": ["self", "metadata_handle"],
    # components.beam_worker
    "apache_beam.runners.worker.sdk_worker_main:main": ["unused_argv"],
    # lineage.store.mlmd
    "ml_metadata:MetadataStore.__init__": ["self", "config", "enable_upgrade_migration"],
    "ml_metadata:MetadataStore._call": [
        "self",
        "method_name",
        "request",
        "response",
        "extra_options",
    ],
    # the executors that ours derive from
    "tfx.components.example_validator.executor:Executor._Validate": ["self", "inputs", "outputs"],
    "tfx.components.pusher.executor:Executor._MarkPushed": [
        *("self", "model_push", "pushed_destination", "pushed_version"),
    ],
    "tfx.components.pusher.executor:Executor._MarkNotPushed": ["self", "model_push"],
    "tfx.dsl.components.base.base_beam_executor:BaseBeamExecutor._make_beam_pipeline": ["self"],
}
"""Their parameters, by place."""

KEYWORDS = {
    "tfx.dsl.compiler.compiler:Compiler.compile": {"self", "tfx_pipeline"},
    f"{PORTABLE}.beam_executor_operator:BeamExecutorOperator.run_executor": {
        *("self", "execution_info"),
    },
    f"{PORTABLE}.cache_utils:get_cache_context": {
        *("metadata_handle", "pipeline_node", "pipeline_info", "executor_spec"),
        *("input_artifacts", "output_artifacts", "parameters"),
    },
    f"{PORTABLE}.execution_publish_utils:register_execution": {
        *("metadata_handle", "execution_type", "contexts", "input_artifacts", "exec_properties"),
    },
    f"{PORTABLE}.execution_publish_utils:publish_succeeded_execution": {
        *("metadata_handle", "execution_id", "contexts", "output_artifacts", "executor_output"),
    },
    f"{PORTABLE}.data_types:ExecutionInfo": {
        *("execution_id", "input_dict", "output_dict", "exec_properties", "execution_output_uri"),
        *("stateful_working_dir", "tmp_dir", "pipeline_node", "pipeline_info", "pipeline_run_id"),
    },
}
"""Parameters that they have among others."""


@pytest.mark.parametrize("path", CALLED)
def test_it_takes_these_parameters(path):
    assert list(inspect.signature(part(path)).parameters) == CALLED[path]


@pytest.mark.parametrize("path", KEYWORDS)
def test_it_takes_these_parameters_among_others(path):
    assert set(inspect.signature(part(path)).parameters) >= KEYWORDS[path]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (
            f"{PORTABLE}.launcher:Launcher.__init__",
            ("_pipeline_node", "_pipeline_info", "_executor_operator", "_executor_spec"),
        ),
        ("ml_metadata:MetadataStore.__init__", ("_config", "_max_num_retries")),
        (
            f"{PORTABLE}.launcher:_ExecutionPreparationResult",
            ("execution_info", "execution_metadata", "contexts"),
        ),
    ],
)
def test_an_object_has_these_attributes(path, names):
    source = inspect.getsource(part(path))
    assert [
        name for name in names if f"self.{name}" not in source and f"{name}:" not in source
    ] == []


@pytest.mark.parametrize(
    ("path", "use"),
    [
        (f"{PORTABLE}.launcher:Launcher._prepare_execution", "cache_utils.get_cache_context("),
        (f"{PORTABLE}.launcher:Launcher._prepare_execution", "cache_utils.get_cached_outputs("),
        (f"{PORTABLE}.launcher:Launcher.launch", "self._prepare_execution()"),
        (f"{PORTABLE}.launcher:Launcher.launch", "self._run_executor("),
        ("tfx.orchestration.beam.beam_dag_runner:BeamDagRunner.run_with_ir", "beam.Pipeline()"),
        ("tfx.orchestration.beam.beam_dag_runner:PipelineNodeAsDoFn", "launcher.Launcher("),
        ("tfx.orchestration.local.local_dag_runner:LocalDagRunner", "launcher.Launcher("),
        ("tfx.orchestration.metadata:Metadata", "mlmd.MetadataStore("),
    ],
)
def test_what_we_replace_is_looked_up_where_it_is_used(path, use):
    """Otherwise the replacement would be made, and be without effect."""
    assert use in inspect.getsource(part(path))


def test_batches_have_a_bound_in_bytes_and_one_in_examples():
    from absl import flags

    util = importlib.import_module("tfx_bsl.coders.batch_util")
    assert util._USE_BYTE_SIZE_BATCHING.name in flags.FLAGS
    assert isinstance(util._BATCH_SIZE_CAP_WITH_BYTE_TARGET, int)
    source = inspect.getsource(util)
    assert source.count("_BATCH_SIZE_CAP_WITH_BYTE_TARGET") > 1


def test_names_of_look_ups_in_records_are_those_of_tfx():
    from tfx.dsl.components.common import importer, resolver

    modules = {f"{importer.__name__}.", f"{resolver.__name__}."}
    assert modules == set(_RESOLVERS)


def test_what_is_replaced_is_put_back():
    launcher = importlib.import_module(f"{PORTABLE}.launcher")
    cache_utils = importlib.import_module(f"{PORTABLE}.cache_utils")
    mlmd = importlib.import_module("ml_metadata")

    def in_place() -> list[Any]:
        return [
            *(launcher.Launcher, mlmd.MetadataStore),
            *(cache_utils.get_cache_context, cache_utils.get_cached_outputs),
        ]

    before = in_place()
    with (
        tfx_private.launches_watched(lambda node, launch: launch(), lambda node: None, print),
        tfx_private.cache_keys(lambda inputs, parameters: (inputs, parameters), bool),
        tfx_private.stores_replaced(dict),
    ):
        assert not [own for own in in_place() if own in before]
    assert in_place() == before
