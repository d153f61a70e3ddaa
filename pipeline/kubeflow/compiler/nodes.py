"""TFX's nodes as tasks of Kubeflow Pipelines, and what is looked up before them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.config.strict import dump
from common.errors import ConfigError, nearest
from common.record import kinds
from pipeline.config import PipelineConfig
from pipeline.kubeflow import step as names
from pipeline.kubeflow.compiler.tasks import ARTIFACT, Source, Task, constant, from_task, of_run
from pipeline.kubeflow.spec import Spec
from pipeline.kubeflow.step import Step, task_name
from pipeline.kubeflow.words import packed

_FOR_THE_UI = {names.METRICS: "system.Metrics", names.REPORT: "system.HTML"}
_SHOWN = {kinds.TRAINER: _FOR_THE_UI, kinds.EVALUATOR: _FOR_THE_UI}
_SYSTEM_TYPES = {
    kinds.MODEL: "system.Model",
    kinds.PUSHED_MODEL: "system.Model",
    kinds.EXAMPLES: "system.Dataset",
}
RESOLVE = "resolve-data"
BASELINE = "baseline"


def tasks_of(config: PipelineConfig, frozen_as: str | None = None) -> list[Task]:
    """Returns the tasks of a pipeline.

    Args:
      frozen_as: the path of the frozen schema that is recorded; by default the config's.

    Raises:
      ConfigError: a node cannot be run in a container, or what the config names is no node.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tasks = _Tasks(config, _ir(config, scratch), scratch, frozen_as).all()
        return [task for whole in tasks for task in whole.in_parts(owner=RESOLVE)]


def defaults_of_run(config: PipelineConfig) -> dict[str, Any]:
    """Returns what the config says of the run's parameters."""
    plain = dump(config)
    return {name: plain[table][key] for name, (table, key) in names.PARAMETERS.items()}


def _ir(config: PipelineConfig, scratch: str) -> Spec:
    """TFX's IR as JSON; what belongs to a workspace lies in `scratch`."""
    from google.protobuf import json_format

    from components.tfx_private import compile_ir
    from lineage.store.workspace import Workspace
    from pipeline.dag import create_pipeline

    pipeline = create_pipeline(config, Workspace(Path(scratch)))
    components = [*(c.id for c in pipeline.components), RESOLVE, BASELINE]
    for table in ("resources", "pods"):
        for name in getattr(config.kubeflow, table):
            if name not in components:
                raise ConfigError(
                    f"kubeflow.{table}.{name}: there is no such component."
                    f"{nearest(name, components)}"
                )
    ir: Spec = json_format.MessageToDict(compile_ir(pipeline))
    return ir


class _Tasks:
    """The tasks of a pipeline: one for each node of TFX's IR, and what it looks up first."""

    def __init__(
        self, config: PipelineConfig, ir: Spec, scratch: str, frozen_as: str | None
    ) -> None:
        self._config = config
        self._scratch = scratch
        self._frozen_as = frozen_as
        self._executors = ir["deploymentConfig"]["executorSpecs"]
        nodes = {n["pipelineNode"]["nodeInfo"]["id"]: n["pipelineNode"] for n in ir["nodes"]}
        self._resolver = nodes.pop(kinds.BASELINE)
        self._nodes: dict[str, Spec] = nodes
        self._run = {name: of_run(name, value) for name, value in defaults_of_run(config).items()}

    def all(self) -> Iterator[Task]:
        """Makes them."""
        yield self._resolve_data()
        yield self._baseline()
        for id_, node in self._nodes.items():
            yield self._component(id_, node)

    def _resolve_data(self) -> Task:
        (owner,) = (id_ for id_, used in names.OVERRIDES.items() if "data_path" in used)
        return Task(
            name=RESOLVE,
            owner=RESOLVE,
            args=("--find", "data"),
            parameters={
                "config": constant(self._properties(owner)["config"]),
                "destination": constant(str(self._config.push.destination)),
                "data_path": self._run["data_path"],
            },
            output_parameters=(names.RESOLVED,),
            cached=False,
        )

    def _baseline(self) -> Task:
        candidate = next(
            channel
            for spec in self._resolver["inputs"]["inputs"].values()
            for channel in spec.get("channels", ())
            if "producerNodeQuery" in channel
        )
        return Task(
            name=BASELINE,
            owner=BASELINE,
            args=("--find", "baseline"),
            parameters={
                "destination": constant(str(self._config.push.destination)),
                "name": constant(self._config.name),
                "baseline": self._run["baseline"],
            },
            artifacts={"candidate": self._source(candidate)},
            output_parameters=(names.BASELINE,),
            cached=False,
        )

    def _component(self, id_: str, node: Spec) -> Task:
        last = id_ == kinds.PUSHER  # never cached, so it alone may know the whole config and record
        properties = self._properties(id_)
        overrides = names.OVERRIDES.get(id_, ())
        parameters = {k: constant(v) for k, v in properties.items()}
        artifacts: dict[str, Source] = {}
        producers = set()
        for key, spec in node.get("inputs", {}).get("inputs", {}).items():
            (channel,) = spec["channels"]
            producer = channel["producerNodeQuery"]["id"]
            if producer == kinds.BASELINE:
                if id_ == kinds.BASELINE_INFERRER:
                    parameters[names.BASELINE] = from_task(BASELINE, names.BASELINE)
            elif key != names.CANDIDATE:
                artifacts[key] = self._source(channel)
                producers.add(producer)
        if "data_path" in overrides:
            parameters[names.RESOLVED] = from_task(RESOLVE, names.RESOLVED)
        if last:
            recorded = dump(self._config)
            recorded["schema"]["frozen"] = self._frozen_as or recorded["schema"]["frozen"]
            parameters[names.CONFIG] = constant(json.dumps(recorded, sort_keys=True))
        for producer in self._nodes if last else producers:
            if producer != id_:
                record = Source(task_name(producer), names.LINEAGE)
                artifacts[f"{names.LINEAGE}_{producer}"] = record
        step = Step(
            pipeline=self._config.pipeline_name,
            node={k: node[k] for k in ("nodeInfo", "contexts", "outputs") if k in node},
            executor=self._executor(id_, node),
            properties={k: type(v).__name__ for k, v in properties.items()},
        )
        upstream = [u for u in node.get("upstreamNodes", ()) if u != kinds.BASELINE]
        return Task(
            name=task_name(id_),
            owner=id_,
            args=("--step", packed(json.dumps(dump(step), sort_keys=True))),
            parameters=parameters | {p: self._run[p] for p in (self._run if last else overrides)},
            artifacts=artifacts,
            outputs={
                **{key: self._type(id_, key) for key in node.get("outputs", {}).get("outputs", {})},
                **_SHOWN.get(id_, {}),
                names.LINEAGE: ARTIFACT,
            },
            after=[task_name(u) for u in upstream],
            cached=not last,
        )

    def _executor(self, id_: str, node: Spec) -> Spec:
        executor: Spec | None = self._executors.get(id_)
        if executor is None or "container" in executor["@type"].lower():
            raise ConfigError(
                f"{id_} ({node['nodeInfo']['type']['name']}) has no executor that a container "
                "of Kubeflow Pipelines can run. Expected components with a Python executor."
            )
        if node.get("inputs", {}).get("conditionals"):
            raise ConfigError(
                f"{id_}: conditions on artifacts cannot be compiled for Kubeflow Pipelines."
            )
        return executor

    def _properties(self, id_: str) -> dict[str, str | int | float]:
        properties: dict[str, str | int | float] = {}
        parameters = self._nodes[id_].get("parameters", {}).get("parameters", {})
        for key, parameter in parameters.items():
            ((kind, value),) = parameter["fieldValue"].items()
            if key == "schema_file":
                properties[names.SCHEMA_TEXT] = Path(value).read_text(encoding="utf-8")
            elif kind == "intValue":
                properties[key] = int(value)
            elif kind == "stringValue":
                properties[key] = value.replace(self._scratch, names.WORKSPACE)
            else:
                properties[key] = value
        return properties

    def _source(self, channel: Spec) -> Source:
        producer, key = channel["producerNodeQuery"]["id"], channel["outputKey"]
        return Source(task_name(producer), key, self._type(producer, key))

    def _type(self, id_: str, key: str) -> str:
        """Returns the type of an output, as the UI knows it."""
        output = self._nodes[id_]["outputs"]["outputs"][key]
        return _SYSTEM_TYPES.get(output["artifactSpec"]["type"]["name"], ARTIFACT)
