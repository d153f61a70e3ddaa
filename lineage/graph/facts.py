"""What a store says about runs, steps, data, models, verdicts and pushes.

Every field that may not be recorded is None then; a store of another TFX pipeline
has fewer.  Times are ISO 8601, UTC; durations are seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lineage.graph.alive import OPEN, is_alive
from lineage.store.reader import Reader
from lineage.store.records import PIPELINE, Artifact, Context, Execution, Value
from modelstore.versions import list_versions

RUNNING = "running"
FAILED = "failed"
UNKNOWN = "unknown"
_SKIPPED_BEFORE = "the server was not asked: "
"""How records began that called a model which was not tried not blessed."""
ServingState = Literal["latest", "kept", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run of a pipeline, and what it was run with."""

    run_id: str
    pipeline: str | None
    state: str
    """One of `runs.STATES`."""
    error: str | None
    started: str
    duration_seconds: float | None
    framework: str | None
    model: str | None
    """The architecture's name."""
    seed: int | None
    config: dict[str, Any] | None
    """The resolved config."""
    config_digest: str | None
    dataset_digest: str | None
    git_commit: str | None
    """Of the folder it was run in."""
    git_dirty: bool | None
    """Whether anything was not committed, modules that were never added among it."""
    git_changes: str | None
    """Digest of the patch of it, which the run keeps in code/changes.patch."""
    visionline_git_commit: str | None
    visionline_git_dirty: bool | None
    visionline_git_changes: str | None
    own_code: dict[str, str] | None
    """Digest by module, of the user's own that made the model; the run keeps them in code/own."""
    packages: dict[str, str] | None
    """Version by package."""
    packages_digest: str | None
    lock_digest: str | None
    python: str | None
    host: str | None
    platform: str | None
    cpus: int | None
    accelerator: str | None
    user: str | None
    directory: str | None


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
    """The folder, manifest or TFRecords."""
    digest: str | None
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
    epochs_run: int | None
    best_epoch: int | None
    train_seconds: float | None
    peak_memory_bytes: int | None
    metrics: dict[str, float]
    """Of the best epoch: loss, accuracy, val_loss, val_accuracy, as far as recorded."""
    latency_ms: float | None
    """Of one image through ONNX Runtime, median, measured as it was exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One evaluation of a model."""

    execution_id: int
    run_id: str | None
    when: str
    blessed: bool | None
    accuracy: float | None
    loss: float | None
    top_k_accuracy: float | None
    expected_calibration_error: float | None
    examples: int | None
    baseline_model_id: int | None
    """Artifact id of the model it was compared with."""
    baseline: str | None
    """Its name@version, or its URI."""
    baseline_accuracy: float | None
    why_not_blessed: list[str]


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
class ModelFacts:
    artifact_id: int
    uri: str
    state: str
    """LIVE, DELETED …"""
    framework: str | None
    architecture: str | None
    created: str


def when(milliseconds: int) -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def ended(execution: Execution) -> int:
    """When an execution was done, in milliseconds.

    Not when it was last updated: what is known of it is written down once the run ends,
    after others have built on it.
    """
    seconds = _float(execution.get("duration_seconds"))
    if seconds is None:
        return execution.updated
    return min(execution.created + round(seconds * 1000), execution.updated)


def run_facts(reader: Reader, run: Context) -> RunFacts:
    get = run.get
    state = _text(get("state"))
    if state in (None, RUNNING):
        executions = reader.executions(reader.executions_in([run.id]).get(run.id, []))
        state = run_state(run, executions.values())
    return RunFacts(
        run_id=run.name or "",
        pipeline=pipeline_of(reader, run),
        state=str(state),
        error=_text(get("error")),
        started=when(run.created),
        duration_seconds=_float(get("duration_seconds")),
        framework=_text(get("framework")),
        model=_text(get("model")),
        seed=_int(get("seed")),
        config=_table(get("config")),
        config_digest=_text(get("config_digest")),
        dataset_digest=_text(get("dataset_digest")),
        git_commit=_text(get("git_commit")),
        git_dirty=_bool(get("git_dirty")),
        git_changes=_text(get("git_changes")),
        visionline_git_commit=_text(get("visionline_git_commit")),
        visionline_git_dirty=_bool(get("visionline_git_dirty")),
        visionline_git_changes=_text(get("visionline_git_changes")),
        own_code=_table(get("own_code")),
        packages=_table(get("packages")),
        packages_digest=_text(get("packages_digest")),
        lock_digest=_text(get("lock_digest")),
        python=_text(get("python")),
        host=_text(get("host")),
        platform=_text(get("platform")),
        cpus=_int(get("cpus")),
        accelerator=_text(get("accelerator")),
        user=_text(get("user")),
        directory=_text(get("directory")),
    )


def pipeline_of(reader: Reader, run: Context) -> str | None:
    """The pipeline's name: recorded on the run, or else that of its executions' context."""
    recorded = _text(run.get("pipeline"))
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
    recorded = run.get("state")
    found = {e.state for e in executions}
    if isinstance(recorded, str) and recorded != RUNNING:
        return recorded
    if recorded == RUNNING and ("FAILED" not in found or found & set(OPEN)):
        alive = is_alive(run)
        if alive is None and run.imported:
            return UNKNOWN
        return FAILED if alive is False else RUNNING
    return state_of(found)


def state_of(states: Collection[str] | Any) -> str:
    """A run's state from those of its executions."""
    found = set(states)
    for mlmd, ours in (("FAILED", "failed"), ("CANCELED", "cancelled"), ("RUNNING", "running")):
        if mlmd in found:
            return ours
    return "complete"


def step(execution: Execution, run: Context | None) -> Step:
    seconds = _float(execution.get("duration_seconds"))
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
        error=_text(execution.get("error")),
    )


def data_facts(examples: Artifact, maker: Execution | None) -> DataFacts:
    get = maker.get if maker else _nothing
    return DataFacts(
        artifact_id=examples.id,
        uri=examples.uri,
        source=_text(get("resolved_path")) or _text(get("input_base")),
        digest=_text(examples.get("dataset_digest")) or _text(examples.get("input_fingerprint")),
        span=_int(examples.get("span")),
        version=_int(examples.get("version")),
        images=_int(examples.get("image_count")),
        classes=_int(examples.get("class_count")),
        splits=_table(get("split_counts")),
        quarantined=_int(get("quarantined")),
    )


def schema_facts(schema: Artifact, maker: Execution | None) -> SchemaFacts:
    imported = None if maker is None else "import_schema_gen" in maker.type
    return SchemaFacts(
        artifact_id=schema.id, uri=schema.uri, digest=output_digest(schema, maker), frozen=imported
    )


def transform_facts(
    graph: Artifact, maker: Execution | None, trainer: Execution | None
) -> TransformFacts:
    settings = (_table(maker.get("custom_config")) if maker else None) or {}
    size = settings.get("image_size") or _parsed(trainer.get("image_size") if trainer else None)
    return TransformFacts(
        artifact_id=graph.id,
        uri=graph.uri,
        digest=output_digest(graph, maker),
        image_size=size if isinstance(size, list) else None,
        resize=_text(settings.get("resize")),
        code_digest=_text(settings.get("code_digest")),
    )


def training_facts(execution: Execution) -> TrainingFacts:
    get = execution.get
    metrics = {k: _float(get(k)) for k in ("loss", "accuracy", "val_loss", "val_accuracy")}
    return TrainingFacts(
        execution_id=execution.id,
        framework=_text(get("framework")),
        architecture=_text(get("architecture")),
        parameter_count=_int(get("parameter_count")),
        hyper_parameters=_table(get("hyper_parameters")) or _table(get("custom_config")),
        seed=_int(get("seed")),
        accelerator=_text(get("accelerator")),
        code_digest=_text(get("code_digest")),
        epochs_run=_int(get("epochs_run")),
        best_epoch=_int(get("best_epoch")),
        train_seconds=_float(get("train_seconds")),
        peak_memory_bytes=_int(get("peak_memory_bytes")),
        metrics={k: v for k, v in metrics.items() if v is not None},
        latency_ms=_float(get("latency_onnx_ms")),
    )


def verdict(
    execution: Execution, run: Context | None, blessing: Artifact | None, baseline: Artifact | None
) -> Verdict:
    get = execution.get
    blessed = _bool(get("blessed"))
    if blessed is None and blessing is not None:
        blessed = _bool(blessing.get("blessed"))
    reasons = _text(get("why_not_blessed"))
    return Verdict(
        execution_id=execution.id,
        run_id=run.name if run else None,
        when=when(ended(execution)),
        blessed=blessed,
        accuracy=_float(get("accuracy")),
        loss=_float(get("loss")),
        top_k_accuracy=_float(get("top_k_accuracy")),
        expected_calibration_error=_float(get("expected_calibration_error")),
        examples=_int(get("examples")),
        baseline_model_id=baseline.id if baseline else None,
        baseline=baseline.uri if baseline else _text(get("baseline_version")) or None,
        baseline_accuracy=_float(get("baseline_accuracy")),
        why_not_blessed=reasons.split("\n") if reasons else [],
    )


def infra_verdict(
    execution: Execution, run: Context | None, blessing: Artifact | None
) -> InfraVerdict:
    get = execution.get
    blessed = _bool(blessing.get("blessed")) if blessing else None
    why_not, skipped = _text(get("why_not_blessed")), _text(get("skipped"))
    if why_not is not None and why_not.startswith(_SKIPPED_BEFORE):
        skipped, why_not = f"not tried, since {why_not.removeprefix(_SKIPPED_BEFORE)}", None
    if skipped is not None:
        blessed = None
    elif blessed is None:
        blessed = _bool(get("blessed"))
    return InfraVerdict(
        execution_id=execution.id,
        run_id=run.name if run else None,
        when=when(ended(execution)),
        blessed=blessed,
        skipped=skipped,
        why_not_blessed=why_not,
        examples=_int(get("examples")),
        engine=_text(get("engine")),
        loading_seconds=_float(get("loading_seconds")),
        rest_p50_ms=_float(get("rest_p50_ms")),
        rest_p99_ms=_float(get("rest_p99_ms")),
        grpc_p50_ms=_float(get("grpc_p50_ms")),
        grpc_p99_ms=_float(get("grpc_p99_ms")),
    )


def push(pushed: Artifact, model: Artifact | None, run: Context | None) -> Push:
    destination = _text(pushed.get("pushed_destination"))
    version = pushed.get("pushed_version")
    return Push(
        artifact_id=pushed.id,
        model_id=model.id if model else _int(pushed.get("model_id")),
        run_id=run.name if run else None,
        name=_text(pushed.get("model_name")),
        version=version if isinstance(version, int | str) else None,
        destination=destination,
        when=when(pushed.created),
        serving=None if destination is None else serving_state(destination),
    )


def model_facts(model: Artifact) -> ModelFacts:
    return ModelFacts(
        artifact_id=model.id,
        uri=model.uri,
        state=model.state,
        framework=_text(model.get("framework")),
        architecture=_text(model.get("architecture")),
        created=when(model.created),
    )


def serving_state(destination: str) -> ServingState | None:
    """Whether a pushed version is in its serving folder now; None: that is not seen from here."""
    return serving_states([destination])[destination]


def serving_states(destinations: Collection[str]) -> dict[str, ServingState | None]:
    """The same of many; looks into each serving folder once."""
    there: dict[str, list[str] | None] = {}
    found: dict[str, ServingState | None] = {}
    for destination in destinations:
        folder, version = os.path.split(destination.rstrip("/"))
        if folder not in there:
            there[folder] = versions_in(folder)
        found[destination] = state_among(version, there[folder])
    return found


def versions_in(folder: str) -> list[str] | None:
    """The versions in a model's folder, increasing; None where they are not seen from here.

    Where there is a serving folder without the model's, that was removed; where there is
    none, the models were pushed on another machine.
    """
    if "://" in folder or not Path(folder).parent.is_dir():
        return None
    return [str(v) for v in list_versions(Path(folder))]


def state_among(version: str, there: Sequence[str] | None) -> ServingState | None:
    """A version's state.

    Args:
      there: see `versions_in`.
    """
    if there is None:
        return None
    if version not in there:
        return "removed"
    return "latest" if version == there[-1] else "kept"


def dataset_digest(trainer: Execution | None) -> str | None:
    """Of the images that a Trainer was given, as it recorded."""
    return _text(trainer.get("dataset_digest")) if trainer else None


def user_of(run: Context) -> str | None:
    return _text(run.get("user"))


def output_digest(artifact: Artifact, maker: Execution | None) -> str | None:
    """SHA-256 over an artifact's files, as recorded by the run that made it."""
    digests = _table(maker.get("output_digests")) if maker else None
    return _text((digests or {}).get(artifact.uri))


def _nothing(key: str) -> Value:
    return None


def _text(value: Value) -> str | None:
    return None if value is None or value == "" else str(value)


def _int(value: Value) -> int | None:
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) else None


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _bool(value: Value) -> bool | None:
    return bool(value) if isinstance(value, int | float) else None


def _parsed(value: Value) -> Any:
    """TFX records tables and lists as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _table(value: Value) -> dict[str, Any] | None:
    found = _parsed(value)
    return dict(found) if isinstance(found, Mapping) else None
