"""One component in its container: TFX's executor between Kubeflow's inputs and outputs.

Kubeflow Pipelines hands over nothing of MLMD.  So a task brings the record of all that it
stands on as an artifact: it is imported into a store of the task's own, the execution is
recorded there as on any runner, and the whole goes out again.  After the last task the
record holds all that a served model came from.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config.strict import parse
from common.errors import ConfigError, DataError, RunError
from common.files import digest
from common.record.kinds import TRAINER
from common.record.record import annotated, names_of
from common.record.run import COMPLETE, RUNNING, Run
from lineage.store.connection import Connection
from pipeline.beam_args import counted
from pipeline.kubeflow import step as names
from pipeline.kubeflow.local import outcome
from pipeline.kubeflow.step import Step, task_name
from pipeline.kubeflow.task.io import Place, TaskIO, put
from pipeline.kubeflow.words import unpacked

_NOT_PROPERTIES = {names.RESOLVED, names.CONFIG, names.SCHEMA_TEXT}
_TYPES = {"int": int, "float": float, "str": str}
_MOVE_FILES = (
    "components.pusher.PusherExecutor",
    "tfx.components.schema_gen.import_schema_gen.executor.Executor",
)
"""Executors that need no more than TFX itself."""


def run_step(text: str, io: TaskIO) -> None:
    """Runs a component.

    Args:
      text: a `Step` as JSON, packed.

    Raises:
      RunError: it failed; the reason is meant for people.
    """
    from components import tfx_private

    step = parse(Step, json.loads(unpacked(text)))
    tfx_private.install_tfx_alone()
    if step.executor.get("classPath") not in _MOVE_FILES:
        tfx_private.complete()
    with tempfile.TemporaryDirectory(prefix="visionline-") as scratch:
        _Task(step, io, Path(scratch)).run()


def run_of(uri: str, pipeline: str) -> str:
    """Returns the run's id: Kubeflow Pipelines puts outputs at ROOT/PIPELINE/RUN/TASK/ID/KEY.

    It is not among a task's parameters, since no task of another run would then be cached.

    Args:
      pipeline: as Kubeflow Pipelines calls it.

    Raises:
      ConfigError: the URI is of another form.
    """
    match = re.fullmatch(r".+/([^/]+)/([^/]+)/[^/]+/[^/]+/[^/]+", uri)
    if match is None or match[1] != pipeline:
        raise ConfigError(
            f"Expected an output of a task at ROOT/{pipeline}/RUN/TASK/ID/KEY, where Kubeflow "
            f"Pipelines puts them, got {uri!r}. Which release of it runs this?"
        )
    return match[2]


class _Task:
    def __init__(self, step: Step, io: TaskIO, scratch: Path) -> None:
        self._step = step
        self._io = io
        self._scratch = scratch
        self._store = Connection(kind="sqlite", path=scratch / "metadata.sqlite")
        own = io.outputs.get(names.LINEAGE)
        if own is None:
            raise ConfigError(f"{step.id}: expected an output named {names.LINEAGE!r}.")
        self._lineage = own
        self._records = {k: p for k, p in io.inputs.items() if k.startswith(f"{names.LINEAGE}_")}
        """What the inputs stand on."""
        self.run_id = self._run_of(own)

    def run(self) -> None:
        from tfx.orchestration import metadata

        from common.mounts import local_path
        from lineage.exchange.load import load
        from lineage.store.mlmd import mended
        from lineage.store.setup import make_ready
        from pipeline.kubeflow.task.cached import record_cached
        from pipeline.recording.recorder import Recorder

        for key in sorted(self._records):
            load(self._records[key].path, self._store)
        make_ready(self._store)
        connection = self._store.mlmd_config()
        recorder = Recorder(
            connection, self._step.pipeline, self.run_id, path_of=lambda u: Path(local_path(u))
        )
        with mended():
            recorder.annotate_run(self._about())
            with metadata.Metadata(connection) as handle:
                if names.CONFIG in self._io.parameters:
                    record_cached(handle.store, self.run_id, self._works())
                self._execute(handle, recorder)
            if names.CONFIG in self._io.parameters:
                recorder.annotate_run(Run(state=COMPLETE))
        self._export()
        if self._step.id == TRAINER:
            from components.trainer.child import discard_checkpoints

            discard_checkpoints()

    def _execute(self, handle: Any, recorder: Any) -> None:
        from tfx.proto.orchestration import pipeline_pb2

        from components import tfx_private
        from pipeline.recording.recorder import explain

        node = tfx_private.parse_node(self._step.node, self.run_id)
        recorded = self._recorded_inputs(handle.store)
        properties = self._properties()
        outputs = self._outputs(node, properties)
        execution, contexts = tfx_private.register(handle, node, recorded, properties)
        recorder.node_started(self._step.id)
        began = time.monotonic()
        try:
            for key, (artifact,) in outputs.items():  # paths here until the executor is done
                artifact.uri = str(self._io.outputs[key].path)
                Path(artifact.uri).mkdir(parents=True, exist_ok=True)
            done = tfx_private.run_executor(
                self._step.executor,
                self._scratch,
                counted,
                execution_id=execution,
                input_dict=self._placed_inputs(recorded),
                output_dict=outputs,
                exec_properties={k: self._placed(v) for k, v in properties.items()},
                pipeline_node=node,
                pipeline_info=pipeline_pb2.PipelineInfo(id=self._step.pipeline),
                pipeline_run_id=self.run_id,
            )
        except Exception as e:
            raise RunError(f"{self._step.id}: {explain(e)}") from e
        for key, artifacts in outputs.items():
            made = done.output_artifacts[key].artifacts if key in done.output_artifacts else ()
            for artifact in (*artifacts, *made):  # the executor wrote at the path in this container
                artifact.uri = self._io.outputs[key].uri
        if (key := outcome.PUSHED_MODEL) in done.output_artifacts:
            (pushed,) = done.output_artifacts[key].artifacts
            self._io.metadata[key] = annotated(pushed)
        tfx_private.publish(handle, execution, contexts, outputs, done)
        recorder.node_finished(self._step.id, execution, time.monotonic() - began)
        if names.REPORT in self._io.outputs:
            from pipeline.kubeflow.task import report

            report.SHOW[self._step.id](self._io, recorder)

    def _placed_inputs(self, recorded: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Copies of the input artifacts whose URIs are paths here."""
        inputs = copy.deepcopy(dict(recorded))
        for key, (artifact,) in inputs.items():
            artifact.uri = str(self._io.inputs[key].path)
        return inputs

    def _placed(self, value: Any) -> Any:
        """Returns a property; what it has in `names.WORKSPACE` lies in this task's own folder."""
        if isinstance(value, str) and value.startswith(f"{names.WORKSPACE}/"):
            return str(self._scratch) + value.removeprefix(names.WORKSPACE)
        return value

    def _works(self) -> dict[str, str]:
        """Returns, by component that was taken from the cache, the run that did its work."""
        prefix = f"{names.LINEAGE}_"
        runs = {key.removeprefix(prefix): self._run_of(p) for key, p in self._records.items()}
        return {component: run for component, run in runs.items() if run != self.run_id}

    def _run_of(self, place: Place) -> str:
        return run_of(place.uri, task_name(self._step.pipeline))

    def _export(self) -> None:
        from lineage.exchange.dump import dump_of
        from lineage.exchange.portable import check
        from lineage.store.opening import open_reader

        with contextlib.closing(open_reader(self._store)) as reader:
            lines = b"".join(dump_of(reader, None, f"{self._step.id} of run {self.run_id}"))
        path = self._lineage.path
        if path.is_dir():
            shutil.rmtree(path)
        put(path, lines)
        check(path)

    def _about(self) -> Run:
        from pipeline.recording.provenance import describe

        run = replace(describe(), pipeline=self._step.pipeline, state=RUNNING)
        if names.CONFIG not in self._io.parameters:
            return run
        config = json.loads(self._io.parameters[names.CONFIG])
        for name, (table, _) in names.PARAMETERS.items():
            value = self._io.parameters[name]
            config[table] = names.overridden(config[table], {name: value})
        train = {key: config["train"][key] for key in names_of(Run.framework, Run.model, Run.seed)}
        return replace(run, config=config, config_digest=digest(config), **train)

    def _recorded_inputs(self, store: Any) -> dict[str, list[Any]]:
        """Returns the input artifacts as their producers recorded them."""
        from tfx.types import artifact_utils

        types = {t.id: t for t in store.get_artifact_types()}
        inputs = {}
        for key, place in self._io.inputs.items():
            if key in self._records:
                continue
            artifacts = store.get_artifacts_by_uri(place.uri)
            if not artifacts:
                raise DataError(
                    f"{self._step.id}: the input {key!r} at {place.uri} is in no lineage record "
                    "of the tasks before. Was it written by another pipeline?"
                )
            newest = max(artifacts, key=lambda a: a.id)
            inputs[key] = [artifact_utils.deserialize_artifact(types[newest.type_id], newest)]
        return inputs

    def _properties(self) -> dict[str, Any]:
        parameters = self._io.parameters
        changes = {
            k: v for k, v in parameters.items() if k in names.OVERRIDES.get(self._step.id, ())
        }
        properties = {
            k: _TYPES[self._step.properties.get(k, "str")](v)
            for k, v in parameters.items()
            if k not in _NOT_PROPERTIES and k not in names.PARAMETERS
        }
        if changes:
            table = names.overridden(json.loads(properties["config"]), changes)
            properties["config"] = json.dumps(table, sort_keys=True)
        properties |= json.loads(parameters.get(names.RESOLVED, "{}"))
        if names.SCHEMA_TEXT in parameters:
            path = self._scratch / "schema.pbtxt"
            path.write_text(parameters[names.SCHEMA_TEXT], encoding="utf-8")
            properties["schema_file"] = str(path)
        return properties

    def _outputs(self, node: Any, properties: Mapping[str, Any]) -> dict[str, list[Any]]:
        from tfx.types import artifact_utils

        from components.example_gen.driver import EXAMPLES, annotate

        outputs = {}
        for key, spec in node.outputs.outputs.items():
            artifact = artifact_utils.get_artifact_type_class(spec.artifact_spec.type)()
            artifact.uri = self._io.outputs[key].uri
            artifact.name = f"{self._step.pipeline}:{self.run_id}:{self._step.id}:{key}:0"
            outputs[key] = [artifact]
        if names.RESOLVED in self._io.parameters:
            annotate(outputs[EXAMPLES][0].mlmd_artifact, properties)
        return outputs
