"""What is known of pushed versions: read for many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from common.record.kinds import BLESSING, EVALUATOR, EXAMPLES, INFRA_BLESSING, INFRA_VALIDATOR
from common.record.record import value_of
from common.record.run import Run
from common.record.steps import Training, Verdict
from lineage.graph import facts
from lineage.graph.measured import Measured
from lineage.graph.producers import BASELINE, runs_of
from lineage.graph.pushed import PushRef
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Execution

V = TypeVar("V")

_JUDGES = (EVALUATOR, INFRA_VALIDATOR)
_BLESSINGS = (BLESSING, INFRA_BLESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord(Measured):
    """One pushed version of a model, and what is known of how it came to be.

    The metrics are those of the last evaluation before the push.
    """

    name: str
    version: int | str | None
    destination: str
    pushed: str
    """When, ISO 8601, UTC."""
    serving: facts.ServingState | None
    """None where the folder is not seen from here: in a bucket, or on another machine."""
    artifact_id: int
    """Of the PushedModel."""
    model_id: int | None
    """Artifact id of the model."""
    framework: str | None
    architecture: str | None
    parameter_count: int | None
    blessed: bool | None
    baseline_value: float | None
    """The headline metric of the model it was compared with then."""
    latency_ms: float | None
    """Of one image, median; see `latency_of`."""
    latency_of: Literal["server", "onnx"] | None
    """server: over gRPC, as infra validation measured it before the push; onnx: through
    ONNX Runtime alone, as it was exported."""
    epochs: int | None
    seconds: float | None
    """Of training."""
    data_digest: str | None
    data_span: int | None
    run_id: str | None
    """The run that trained it."""
    user: str | None
    """Who started that run."""


def records(
    reader: Reader, refs: Sequence[PushRef], states: Mapping[int, facts.ServingState | None]
) -> tuple[VersionRecord, ...]:
    """The records of pushes, in their order.

    Args:
      states: see `pushed.serving_states`.
    """
    pushed = reader.artifacts([r.artifact_id for r in refs])
    model_of = _models(reader, refs)
    models = reader.artifacts(set(model_of.values()))
    makers = reader.producers(models)
    trainers = reader.executions(set(makers.values()))
    runs = runs_of(reader, list(trainers.values()))
    data = raw_examples(reader, set(trainers))
    judged = _judged(reader, models)
    versions = []
    for ref in refs:
        model_id = model_of.get(ref.artifact_id, 0)
        trainer_id = makers.get(model_id, 0)
        versions.append(
            _record(
                ref,
                artifact=pushed[ref.artifact_id],
                state=states[ref.artifact_id],
                model=models.get(model_id),
                trainer=trainers.get(trainer_id),
                run=runs.get(trainer_id),
                data=data.get(trainer_id, []),
                verdict=_before(judged.verdicts.get(model_id, []), pushed[ref.artifact_id]),
                infra=_before(judged.trials.get(model_id, []), pushed[ref.artifact_id]),
            )
        )
    return tuple(versions)


LATENCY_OF = {"server": "gRPC", "onnx": "ONNX Runtime"}
"""`VersionRecord.latency_of` in a word; both are of one image at a time, on the machine of
the run that measured it."""


def comparable_latencies(versions: Sequence[VersionRecord]) -> tuple[list[float | None], str]:
    """The latencies that were measured as that of the newest one was, to be drawn together.

    Returns:
      By version, None for those measured otherwise; and what they are of, in a word.
    """
    newest = next((v.latency_of for v in reversed(versions) if v.latency_of), None)
    values = [v.latency_ms if v.latency_of == newest else None for v in versions]
    return values, LATENCY_OF.get(newest or "", "")


def _record(
    ref: PushRef,
    *,
    artifact: Artifact,
    state: facts.ServingState | None,
    model: Artifact | None,
    trainer: Execution | None,
    run: Context | None,
    data: Sequence[Artifact],
    verdict: facts.Verdict | None,
    infra: facts.InfraVerdict | None,
) -> VersionRecord:
    training = facts.training_facts(trainer) if trainer else None
    images = facts.data_facts(data[0], None) if data else None
    named = (facts.model_facts(model) if model else None, training)
    served_ms = infra.grpc_p50_ms if infra else None
    onnx_ms = training.latency_ms if training else None
    return VersionRecord(
        name=ref.name,
        version=ref.version,
        destination=ref.destination,
        pushed=facts.when(artifact.created),
        serving=state,
        artifact_id=ref.artifact_id,
        model_id=model.id if model else None,
        framework=next((n.framework for n in named if n and n.framework), None),
        architecture=next((n.architecture for n in named if n and n.architecture), None),
        parameter_count=training.parameter_count if training else None,
        blessed=verdict.blessed if verdict else None,
        metrics=verdict.metrics if verdict else {},
        baseline_value=verdict.baseline_value if verdict else None,
        latency_ms=onnx_ms if served_ms is None else served_ms,
        latency_of="server" if served_ms is not None else None if onnx_ms is None else "onnx",
        epochs=training.epochs_run if training else None,
        seconds=training.train_seconds if training else None,
        data_digest=(images.digest if images else None)
        or (value_of(trainer, Training.dataset_digest) if trainer else None),
        data_span=images.span if images else None,
        run_id=run.name if run else None,
        user=value_of(run, Run.user) if run else None,
    )


def raw_examples(reader: Reader, executions: Collection[int]) -> dict[int, list[Artifact]]:
    """The examples that executions were given, as they were before any transform.

    Returns:
      By execution id, in the order of their ids.
    """
    direct = _examples_given(reader, executions)
    made_from: dict[int, set[int]] = {}
    frontier = set[int]().union(*direct.values())
    while frontier:
        makers = reader.producers(frontier)
        inputs = _examples_given(reader, set(makers.values()))
        made_from |= {a: inputs.get(makers.get(a, 0), set()) for a in frontier}
        frontier = set[int]().union(*(made_from[a] for a in frontier)) - made_from.keys()
    raw = {execution: _ends(ids, made_from) for execution, ids in direct.items()}
    artifacts = reader.artifacts(set[int]().union(*raw.values()))
    return {e: [artifacts[i] for i in sorted(ids)] for e, ids in raw.items()}


def _ends(ids: Collection[int], made_from: Mapping[int, Collection[int]]) -> set[int]:
    """Those of the ids, and of what they were made from, that were made from nothing."""
    seen, frontier = set[int](), set(ids)
    while frontier:
        seen |= frontier
        frontier = {b for a in frontier for b in made_from[a]} - seen
    return {a for a in seen if not made_from[a]}


def _examples_given(reader: Reader, executions: Collection[int]) -> dict[int, set[int]]:
    events = [e for e in reader.events(executions) if e.kind == "input" and e.key not in BASELINE]
    artifacts = reader.artifacts({e.artifact_id for e in events})
    examples: dict[int, set[int]] = defaultdict(set)
    for event in events:
        if event.artifact_id in artifacts and artifacts[event.artifact_id].type == EXAMPLES:
            examples[event.execution_id].add(event.artifact_id)
    return examples


def _models(reader: Reader, refs: Sequence[PushRef]) -> dict[int, int]:
    """The model of each push, by the push's artifact id."""
    models = {r.artifact_id: r.model_id for r in refs if r.model_id is not None}
    # TFX's own Pusher does not say which model it was; it was given one.
    makers = reader.producers([r.artifact_id for r in refs if r.model_id is None])
    model_of = {
        e.execution_id: e.artifact_id
        for e in reader.events(set(makers.values()))
        if e.kind == "input" and e.key == "model"
    }
    return models | {a: model_of[e] for a, e in makers.items() if e in model_of}


@dataclass(frozen=True, slots=True)
class _Judged:
    """By model, each with its execution, the oldest first."""

    verdicts: dict[int, list[tuple[Execution, facts.Verdict]]]
    trials: dict[int, list[tuple[Execution, facts.InfraVerdict]]]


def _judged(reader: Reader, models: Collection[int]) -> _Judged:
    """The finished evaluations of each model, and its trials in the server."""
    events = [e for e in reader.consumers(models) if e.key == "model"]
    executions = {
        i: x
        for i, x in reader.executions({e.execution_id for e in events}).items()
        if x.state == "COMPLETE" and x.type.rpartition(".")[2] in _JUDGES
    }
    blessings = _blessings(
        reader, [i for i, x in executions.items() if value_of(x, Verdict.blessed) is None]
    )
    judged = _Judged(defaultdict(list), defaultdict(list))
    for event in sorted(events):
        execution = executions.get(event.execution_id)
        if execution is None:
            continue
        blessing = blessings.get(execution.id)
        if execution.type.rpartition(".")[2] == EVALUATOR:
            verdict = facts.verdict(execution, None, blessing, None)
            judged.verdicts[event.artifact_id].append((execution, verdict))
        else:
            trial = facts.infra_verdict(execution, None, blessing)
            judged.trials[event.artifact_id].append((execution, trial))
    return judged


def _blessings(reader: Reader, executions: Collection[int]) -> dict[int, Artifact]:
    events = [e for e in reader.events(executions) if e.kind == "output"]
    artifacts = reader.artifacts({e.artifact_id for e in events})
    return {
        e.execution_id: artifacts[e.artifact_id]
        for e in events
        if e.artifact_id in artifacts and artifacts[e.artifact_id].type in _BLESSINGS
    }


def _before(verdicts: Sequence[tuple[Execution, V]], pushed: Artifact) -> V | None:
    """The verdict that a push rests on: the last one before it."""
    earlier = [v for e, v in verdicts if e.created <= pushed.created]
    candidates = earlier or [v for _, v in verdicts]
    return candidates[-1] if candidates else None
