"""What a store says about runs, steps, data, models, verdicts and pushes.

Every field that may not be recorded is None then; a store of another TFX pipeline
has fewer.  Times are ISO 8601, UTC; durations are seconds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from common.record import steps
from common.record.artifacts import Blessing, Examples, Model, Pushed
from common.record.kinds import PIPELINE
from common.record.record import names_of, value_of
from common.record.run import CANCELLED, COMPLETE, FAILED, RUNNING, Run
from common.record.steps import Data, Parameters, Training, Trial
from common.record.steps import Step as Recorded
from lineage.graph.alive import OPEN, is_alive
from lineage.graph.measured import Measured, metrics
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Execution
from modelstore.versions import list_versions

UNKNOWN = "unknown"
METRICS = names_of(Training.loss, Training.accuracy, Training.val_loss, Training.val_accuracy)
"""Of the best epoch."""
_SKIPPED_BEFORE = "the server was not asked: "
"""How records began that called a model which was not tried not blessed."""
ServingState = Literal["latest", "kept", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts(Run):
    """One run of a pipeline, and what it was run with."""

    run_id: str
    started: str
    state: str
    """One of `runs.STATES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One component's execution."""

    component: str
    execution_id: int
    state: str
    """As MLMD calls it: COMPLETE, CACHED, FAILED, CANCELED, RUNNING."""
    run_id: str | None
    """The run that this execution belongs to."""
    started: str
    duration_seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The images, as ImageExampleGen read them."""

    artifact_id: int
    uri: str
    source: str | None
    """The folder, manifest, archive or shards."""
    digest: str | None
    """Of the ingested images, whatever they came in."""
    fingerprint: str | None
    """Of the files that were read."""
    span: int | None
    version: int | None
    images: int | None
    classes: int | None
    splits: dict[str, int] | None
    """Images by split."""
    quarantined: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    artifact_id: int
    uri: str
    digest: str | None
    frozen: bool | None
    """Imported from a file, and not inferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformFacts:
    artifact_id: int
    uri: str
    digest: str | None
    image_size: list[int] | None
    """Height, width."""
    resize: str | None
    code_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """The execution that trained a model."""

    execution_id: int
    framework: str | None
    architecture: str | None
    parameter_count: int | None
    hyper_parameters: dict[str, Any] | None
    seed: int | None
    accelerator: str | None
    code_digest: str | None
    teacher: str | None
    """The model that it was distilled from: name@version."""
    teacher_digest: str | None
    epochs_run: int | None
    best_epoch: int | None
    train_seconds: float | None
    peak_memory_bytes: int | None
    metrics: dict[str, float]
    """Of the best epoch: loss, accuracy, val_loss, val_accuracy, as far as recorded."""
    latency_ms: float | None
    """Of one image through ONNX Runtime, median, measured as it was exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Measured):
    """One evaluation of a model."""

    execution_id: int
    run_id: str | None
    when: str
    blessed: bool | None
    expected_calibration_error: float | None
    examples: int | None
    baseline_model_id: int | None
    """Artifact id of the model it was compared with."""
    baseline: str | None
    """Its name@version, or its URI."""
    baseline_value: float | None
    """The headline metric of that model."""
    why_not_blessed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InfraVerdict:
    """One trial of a model in the server, before a push; or that there was none."""

    execution_id: int
    run_id: str | None
    when: str
    blessed: bool | None
    """None: it was skipped, or the verdict is not recorded."""
    skipped: str | None
    """Why the server was not asked about the model; None: it was."""
    why_not_blessed: str | None
    examples: int | None
    """Images that the server was asked about."""
    engine: str | None
    """That the server chose."""
    loading_seconds: float | None
    rest_p50_ms: float | None
    """Of one image over REST, requests one after the other."""
    rest_p99_ms: float | None
    grpc_p50_ms: float | None
    grpc_p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push of a model to a serving folder."""

    artifact_id: int
    model_id: int | None
    run_id: str | None
    name: str | None
    version: int | str | None
    destination: str | None
    when: str
    serving: ServingState | None
    """latest: the newest version in the folder; kept: still there beside a newer one; removed:
    not there; None: not known, since the folder is not seen from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts(Model):
    """A model's artifact."""

    artifact_id: int
    uri: str
    state: str
    """LIVE, DELETED …"""
    created: str


def when(milliseconds: int) -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def ended(execution: Execution) -> int:
    """When an execution was done, in milliseconds.

    Not when it was last updated: what is known of it is written down once the run ends,
    after others have built on it.
    """
    seconds = value_of(execution, Recorded.duration_seconds)
    if seconds is None:
        return execution.updated
    return min(execution.created + round(seconds * 1000), execution.updated)


def run_facts(reader: Reader, run: Context) -> RunFacts:
    recorded = Run.read(run)
    state = recorded.state
    if state in (None, RUNNING):
        executions = reader.executions(reader.executions_in([run.id]).get(run.id, []))
        state = run_state(run, executions.values())
    recorded = replace(recorded, state=state, pipeline=pipeline_of(reader, run))
    return RunFacts(run_id=run.name or "", started=when(run.created), **same(RunFacts, recorded))


def same(cls: type, record: Any) -> dict[str, Any]:
    """What a dataclass has in common with a record, or with other facts."""
    names = {f.name for f in fields(cls)}
    return {f.name: getattr(record, f.name) for f in fields(record) if f.name in names}


def pipeline_of(reader: Reader, run: Context) -> str | None:
    """The pipeline's name: recorded on the run, or else that of its executions' context."""
    recorded = value_of(run, Run.pipeline)
    if recorded is not None:
        return recorded
    executions = reader.executions_in([run.id]).get(run.id, [])[:1]
    for contexts in reader.contexts_of(executions, PIPELINE).values():
        return contexts[0].name
    return None


def run_state(run: Context, executions: Collection[Execution]) -> str:
    """One of `runs.STATES`; a killed run's from its executions.

    An import that says "running" was exported before the run had ended, and how it ended is
    told by a later export alone.
    """
    recorded = value_of(run, Run.state)
    states = {e.state for e in executions}
    if recorded not in (None, RUNNING):
        return recorded
    if recorded == RUNNING and ("FAILED" not in states or states & set(OPEN)):
        alive = is_alive(run)
        if alive is None and run.imported:
            return UNKNOWN
        return FAILED if alive is False else RUNNING
    ours = {"FAILED": FAILED, "CANCELED": CANCELLED, "RUNNING": RUNNING}
    return next((ours[state] for state in ours if state in states), COMPLETE)


def step(execution: Execution, run: Context | None) -> Step:
    recorded = Recorded.read(execution)
    seconds = recorded.duration_seconds
    ended = execution.state in ("COMPLETE", "CACHED", "FAILED", "CANCELED")
    if seconds is None and ended and execution.updated > execution.created:
        seconds = (execution.updated - execution.created) / 1000
    return Step(
        component=execution.component,
        execution_id=execution.id,
        state=execution.state,
        run_id=run.name if run else None,
        started=when(execution.created),
        duration_seconds=seconds,
        error=recorded.error,
    )


def data_facts(examples: Artifact, maker: Execution | None) -> DataFacts:
    read, images = Data.read(maker or {}), Examples.read(examples)
    return DataFacts(
        artifact_id=examples.id,
        uri=examples.uri,
        source=read.resolved_path or value_of(maker or {}, Parameters.input_base),
        digest=images.dataset_digest or images.input_fingerprint,
        fingerprint=images.input_fingerprint,
        span=images.span,
        version=images.version,
        images=images.image_count,
        classes=images.class_count,
        splits=read.split_counts,
        quarantined=read.quarantined,
    )


def schema_facts(schema: Artifact, maker: Execution | None) -> SchemaFacts:
    imported = None if maker is None else "import_schema_gen" in maker.type
    return SchemaFacts(
        artifact_id=schema.id, uri=schema.uri, digest=output_digest(schema, maker), frozen=imported
    )


def transform_facts(
    graph: Artifact, maker: Execution | None, trainer: Execution | None
) -> TransformFacts:
    settings = value_of(maker or {}, Parameters.custom_config) or {}
    size = settings.get("image_size") or value_of(trainer or {}, Parameters.image_size)
    return TransformFacts(
        artifact_id=graph.id,
        uri=graph.uri,
        digest=output_digest(graph, maker),
        image_size=size if isinstance(size, list) else None,
        resize=settings.get("resize"),
        code_digest=settings.get("code_digest"),
    )


def training_facts(execution: Execution) -> TrainingFacts:
    recorded = Training.read(execution)
    figures = {k: getattr(recorded, k) for k in METRICS}
    hyper = recorded.hyper_parameters or value_of(execution, Parameters.custom_config)
    recorded = replace(recorded, hyper_parameters=hyper)
    return TrainingFacts(
        execution_id=execution.id,
        metrics={k: v for k, v in figures.items() if v is not None},
        latency_ms=recorded.latency_onnx_ms,
        **same(TrainingFacts, recorded),
    )


def verdict(
    execution: Execution, run: Context | None, blessing: Artifact | None, baseline: Artifact | None
) -> Verdict:
    recorded = steps.Verdict.read(execution)
    blessed = recorded.blessed
    if blessed is None and blessing is not None:
        blessed = value_of(blessing, Blessing.blessed)
    return Verdict(
        execution_id=execution.id,
        run_id=run.name if run else None,
        when=when(ended(execution)),
        baseline_model_id=baseline.id if baseline else None,
        baseline=baseline.uri if baseline else recorded.baseline_version,
        baseline_value=recorded.baseline_accuracy,
        metrics=metrics(recorded),
        **same(Verdict, replace(recorded, blessed=blessed)),
    )


def infra_verdict(
    execution: Execution, run: Context | None, blessing: Artifact | None
) -> InfraVerdict:
    recorded = Trial.read(execution)
    blessed = value_of(blessing, Blessing.blessed) if blessing else None
    why_not, skipped = recorded.why_not_blessed, recorded.skipped
    if why_not is not None and why_not.startswith(_SKIPPED_BEFORE):
        skipped, why_not = f"not tried, since {why_not.removeprefix(_SKIPPED_BEFORE)}", None
    if skipped is not None:
        blessed = None
    elif blessed is None:
        blessed = recorded.blessed
    verdict = replace(recorded, blessed=blessed, skipped=skipped, why_not_blessed=why_not)
    return InfraVerdict(
        execution_id=execution.id,
        run_id=run.name if run else None,
        when=when(ended(execution)),
        **same(InfraVerdict, verdict),
    )


def push(pushed: Artifact, model: Artifact | None, run: Context | None) -> Push:
    recorded = Pushed.read(pushed)
    destination = recorded.pushed_destination
    return Push(
        artifact_id=pushed.id,
        model_id=model.id if model else recorded.model_id,
        run_id=run.name if run else None,
        name=recorded.model_name,
        version=recorded.pushed_version,
        destination=destination,
        when=when(pushed.created),
        serving=serving_states([destination])[destination] if destination is not None else None,
    )


def model_facts(model: Artifact) -> ModelFacts:
    return ModelFacts(
        artifact_id=model.id,
        uri=model.uri,
        state=model.state,
        created=when(model.created),
        **same(ModelFacts, Model.read(model)),
    )


def serving_states(destinations: Collection[str]) -> dict[str, ServingState | None]:
    """Whether pushed versions are in their serving folders now; None: not seen from here."""
    there: dict[str, list[str] | None] = {}
    states: dict[str, ServingState | None] = {}
    for destination in destinations:
        folder, version = os.path.split(destination.rstrip("/"))
        if folder not in there:
            there[folder] = versions_in(folder)
        states[destination] = state_among(version, there[folder])
    return states


def versions_in(folder: str) -> list[str] | None:
    """The versions in a model's folder, increasing; None where they are not seen from here.

    Where there is a serving folder without the model's, that was removed; where there is
    none, the models were pushed on another machine.
    """
    if "://" in folder or not Path(folder).parent.is_dir():
        return None
    return [str(v) for v in list_versions(Path(folder))]


def state_among(version: str, there: Sequence[str] | None) -> ServingState | None:
    """A version's state, by what `versions_in` tells of its folder."""
    if there is None:
        return None
    if version not in there:
        return "removed"
    return "latest" if version == there[-1] else "kept"


def output_digest(artifact: Artifact, maker: Execution | None) -> str | None:
    """SHA-256 over an artifact's files, as recorded by the run that made it."""
    return (value_of(maker or {}, Recorded.output_digests) or {}).get(artifact.uri)
