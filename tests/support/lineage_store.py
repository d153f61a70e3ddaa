"""Builds metadata stores as TFX and visionline write them, through MLMD's own library.

For tests that need many runs, or ones no real run leaves.  `Builder.run` writes one
run of the nine components; what is given as reused is a cache hit.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd

from common.record import kinds
from common.record.artifacts import Blessing, Model, Pushed
from common.record.record import Record, annotate, names_of
from common.record.steps import Push, Step, Verdict
from lineage.store.mlmd import Store

COMPONENTS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    # node id: type, inputs (key: "Node.key"), outputs (key: artifact type)
    kinds.IMAGE_EXAMPLE_GEN: (
        "components.example_gen.component.ImageExampleGen",
        {},
        {"report": kinds.REPORT, "examples": kinds.EXAMPLES},
    ),
    kinds.STATISTICS_GEN: (
        "components.statistics.StatisticsGen",
        {"examples": "ImageExampleGen.examples"},
        {"statistics": kinds.STATISTICS},
    ),
    kinds.SCHEMA_GEN: (
        "components.schema_gen.SchemaGen",
        {"statistics": "StatisticsGen.statistics"},
        {"schema": kinds.SCHEMA},
    ),
    kinds.EXAMPLE_VALIDATOR: (
        "components.example_validator.ExampleValidator",
        {"statistics": "StatisticsGen.statistics", "schema": "SchemaGen.schema"},
        {"anomalies": kinds.ANOMALIES},
    ),
    kinds.TRANSFORM: (
        "components.transform.component.Transform",
        {"schema": "SchemaGen.schema", "report": "ImageExampleGen.report"},
        {"transform_graph": kinds.TRANSFORM_GRAPH},
    ),
    kinds.ARRAY_GEN: (
        "components.array_gen.component.ArrayGen",
        {
            "examples": "ImageExampleGen.examples",
            "transform_graph": "Transform.transform_graph",
        },
        {"arrays": kinds.ARRAYS},
    ),
    kinds.TRAINER: (
        "components.trainer.component.Trainer",
        {
            "arrays": "ArrayGen.arrays",
            "raw_examples": "ImageExampleGen.examples",
            "transform_graph": "Transform.transform_graph",
        },
        {"model_run": kinds.MODEL_RUN, "model": kinds.MODEL},
    ),
    kinds.EVALUATOR: (
        "tfx.components.evaluator.component.Evaluator",
        {
            "examples": "ImageExampleGen.examples",
            "model": "Trainer.model",
            "schema": "SchemaGen.schema",
        },
        {"evaluation": kinds.EVALUATION, "blessing": kinds.BLESSING},
    ),
    kinds.PUSHER: (
        "components.pusher.Pusher",
        {
            "model": "Trainer.model",
            "model_blessing": "Evaluator.blessing",
            "evaluation": "Evaluator.evaluation",
        },
        {"pushed_model": kinds.PUSHED_MODEL},
    ),
}

STOCK = {
    **{node: parts for node, parts in COMPONENTS.items() if node != kinds.ARRAY_GEN},
    kinds.IMAGE_EXAMPLE_GEN: (
        "tfx.components.example_gen.import_example_gen.component.ImportExampleGen",
        {},
        {"examples": kinds.EXAMPLES},
    ),
    kinds.TRANSFORM: (
        "tfx.components.transform.component.Transform",
        {"examples": "ImageExampleGen.examples", "schema": "SchemaGen.schema"},
        {"transform_graph": kinds.TRANSFORM_GRAPH, "transformed_examples": kinds.EXAMPLES},
    ),
    kinds.TRAINER: (
        "tfx.components.trainer.component.Trainer",
        {
            "examples": "Transform.transformed_examples",
            "transform_graph": "Transform.transform_graph",
        },
        {"model_run": kinds.MODEL_RUN, "model": kinds.MODEL},
    ),
}
"""A stock TFX pipeline, whose dataset has no index of images."""

PREDICTING = {
    **{k: v for k, v in COMPONENTS.items() if k not in (kinds.EVALUATOR, kinds.PUSHER)},
    kinds.BULK_INFERRER: (
        "components.bulk_inferrer.component.BulkInferrer",
        {"examples": "ImageExampleGen.examples", "model": "Trainer.model"},
        {"inference_result": kinds.PREDICTIONS},
    ),
    kinds.BASELINE_INFERRER: (
        "components.bulk_inferrer.component.BaselineInferrer",
        {"examples": "ImageExampleGen.examples", "candidate": "Trainer.model"},
        {"inference_result": kinds.PREDICTIONS},
    ),
    kinds.EVALUATOR: (
        "components.evaluator.component.Evaluator",
        {
            "examples": "ImageExampleGen.examples",
            "model": "Trainer.model",
            "predictions": "BulkInferrer.inference_result",
            "baseline_predictions": "BaselineInferrer.inference_result",
        },
        {"evaluation": kinds.EVALUATION, "blessing": kinds.BLESSING},
    ),
    kinds.PUSHER: COMPONENTS[kinds.PUSHER],
}
"""A pipeline whose Evaluator judges predictions."""

TFX_OWN = names_of(
    *(Blessing.blessed, Blessing.current_model_id, Pushed.pushed, Pushed.pushed_destination)
)
"""Properties of artifacts that TFX's own Evaluator and Pusher write."""


@dataclass
class BuiltRun:
    """Ids by node, and artifact ids by "Node.key"."""

    run_id: str
    context_id: int
    executions: dict[str, int] = field(default_factory=dict)
    artifacts: dict[str, int] = field(default_factory=dict)


class Builder:
    """Writes runs into a new SQLite store.

    Args:
      path: of metadata.sqlite.
      files: whether each artifact gets a directory with a file, below `root`.
    """

    def __init__(self, path: Path, *, files: bool = False, connection: Any = None) -> None:
        config = connection
        if config is None:
            config = mlmd.ConnectionConfig()
            config.sqlite.filename_uri = str(path)
            config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = Store(config)
        self.root = path.parent / "artifacts"
        self._files = files
        self._types: dict[tuple[str, str], int] = {}
        self._numbers = itertools.count(1)

    def run(
        self,
        run_id: str | None = None,
        *,
        pipeline: str = "digits",
        name: str = "digits-keras",
        version: int | None = 1,
        reused: Mapping[str, BuiltRun] | None = None,
        baseline: int | None = None,
        fails: str | None = None,
        run_properties: Mapping[str, Any] | None = None,
        properties: Mapping[str, Mapping[str, Any]] | None = None,
        artifact_properties: Mapping[str, Mapping[str, Any]] | None = None,
        record_run: bool = True,
        foreign: bool = False,
        components: Mapping[str, Any] = COMPONENTS,
    ) -> BuiltRun:
        """Writes one run.

        Args:
          version: that Pusher pushed; None: not blessed, not pushed.
          reused: the earlier run whose execution is reused from the cache, by node.
          baseline: artifact id of the model that the Evaluator compared with.
          fails: the node that fails; those after it do not run.
          run_properties, properties, artifact_properties: custom properties of the
            run, by node, and by "Node.key".
          record_run: whether executions say which run they belong to, as ours do.
          foreign: as TFX itself writes it, without any property of visionline's.
          components: such as STOCK.
        """
        number = next(self._numbers)
        run_id = run_id or f"run-{number:05d}"
        context = self.context(kinds.RUN, run_id, run_properties or {})
        pipeline_context = self.context(kinds.PIPELINE, pipeline, {})
        built = BuiltRun(run_id=run_id, context_id=context)
        for node, (type_name, inputs, outputs) in components.items():
            cached = node in (reused or {})
            state = mlmd.Execution.CACHED if cached else mlmd.Execution.COMPLETE
            if node == fails:
                state = mlmd.Execution.FAILED
            recorded: list[Record] = [Step(duration_seconds=0.01 if cached else 1.5)]
            if record_run:
                recorded.append(Step(run_id=run_id, node_id=node))
            if node == kinds.PUSHER and not cached:
                recorded.append(Push(pushed=version is not None))
            if node == kinds.EVALUATOR and not cached:
                recorded.append(Verdict(blessed=version is not None))
            values: dict[str, Any] = {}
            for record in recorded if not foreign else ():
                values |= record.properties()
            values |= (properties or {}).get(node, {})
            execution = mlmd.Execution(
                type_id=self.type("execution", type_name), last_known_state=state
            )
            _set(execution, values)
            pairs = []
            for key, source in inputs.items():
                pairs.append((built.artifacts[source], mlmd.Event.INPUT, key))
            if node == kinds.EVALUATOR and baseline is not None:
                pairs.append((baseline, mlmd.Event.INPUT, "baseline_model"))
            if node != fails:
                for key, artifact_type in outputs.items():
                    place = f"{node}.{key}"
                    if cached:
                        id_ = (reused or {})[node].artifacts[place]
                    else:
                        extra = dict((artifact_properties or {}).get(place, {}))
                        standard = self._standard(place, name, version, built)
                        if foreign:
                            standard = {k: v for k, v in standard.items() if k in TFX_OWN}
                        extra = standard | extra
                        uri = self.root / node / key / str(number)
                        id_ = self.artifact(artifact_type, str(uri), extra)
                    built.artifacts[place] = id_
                    pairs.append((id_, mlmd.Event.OUTPUT, key))
            (existing,) = self.store.get_contexts_by_id([context])
            (whole,) = self.store.get_contexts_by_id([pipeline_context])
            node_context = self.store.get_contexts_by_id(
                [self.context(kinds.NODE, f"{pipeline}.{node}", {})]
            )[0]
            artifacts = self.store.get_artifacts_by_id([p[0] for p in pairs])
            by_id = {a.id: a for a in artifacts}
            built.executions[node], _, _ = self.store.put_execution(
                execution,
                [(by_id[i], _event(kind, key)) for i, kind, key in pairs],
                [existing, whole, node_context],
            )
            if node == fails:
                break
        return built

    def artifact(self, type_name: str, uri: str, values: Mapping[str, Any]) -> int:
        if self._files:
            Path(uri).mkdir(parents=True, exist_ok=True)
            (Path(uri) / "data.txt").write_text(uri)
        artifact = mlmd.Artifact(
            type_id=self.type("artifact", type_name), uri=uri, state=mlmd.Artifact.LIVE
        )
        _set(artifact, values)
        return int(self.store.put_artifacts([artifact])[0])

    def context(self, type_name: str, name: str, values: Mapping[str, Any]) -> int:
        found = self.store.get_context_by_type_and_name(type_name, name)
        if found is not None:
            return int(found.id)
        context = mlmd.Context(type_id=self.type("context", type_name), name=name)
        _set(context, values)
        return int(self.store.put_contexts([context])[0])

    def type(self, kind: str, name: str) -> int:
        if (kind, name) not in self._types:
            message = {
                "artifact": mlmd.ArtifactType,
                "execution": mlmd.ExecutionType,
                "context": mlmd.ContextType,
            }[kind](name=name)
            put = getattr(self.store, f"put_{kind}_type")
            self._types[kind, name] = put(message)
        return self._types[kind, name]

    def _standard(
        self, place: str, name: str, version: int | None, built: BuiltRun
    ) -> dict[str, Any]:
        if place == "Evaluator.blessing":
            model = built.artifacts["Trainer.model"]
            return Blessing(blessed=version is not None, current_model_id=model).properties()
        if place == "Pusher.pushed_model":
            pushed = Pushed(model_name=name, pushed=version is not None)
            if version is not None:
                pushed = replace(
                    pushed,
                    model_id=built.artifacts["Trainer.model"],
                    pushed_version=version,
                    pushed_destination=str(self.root.parent / "serving" / name / str(version)),
                )
            return pushed.properties()
        if place == "Trainer.model":
            return Model(framework="keras", architecture="small_cnn").properties()
        return {}


def _event(kind: int, key: str) -> mlmd.Event:
    event = mlmd.Event(type=kind)
    event.path.steps.add().key = key
    event.path.steps.add().index = 0
    return event


def _set(node: Any, values: Mapping[str, Any]) -> None:
    plain = (str, int, float)
    annotate(node, {k: v if isinstance(v, plain) else json.dumps(v) for k, v in values.items()})
