"""What is recorded of a model or run that could make it differ from another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from common.errors import NotFoundError
from common.record.kinds import EXAMPLES, RUN, SCHEMA, TRAINER, TRANSFORM_GRAPH
from common.record.record import value_of
from common.record.run import Run
from common.record.steps import Parameters
from lineage.graph import facts
from lineage.graph.measured import NAMES, TASK
from lineage.graph.refs import find_model, outputs_of_run
from lineage.questions.model import lineage_of
from lineage.store.reader import Reader
from lineage.store.records import Context, Execution

Section = Literal[
    "data",
    "framework",
    "hyper-parameters",
    "transform",
    "schema",
    "code",
    "seed",
    "packages",
    "hardware",
    "evaluation",
]
"""What can make two models differ, the likeliest first."""

_ELSEWHERE = frozenset({"framework", "model", "seed"})
"""Of the training config: compared in sections of their own."""
_PLACE = frozenset({"path", "span", "version"})
"""Of the data config: what they led to is compared instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One side of a comparison."""

    ref: str
    run: facts.RunFacts | None
    model: facts.ModelFacts | None
    """None: the run made no model."""
    data: tuple[facts.DataFacts, ...]
    schema: facts.SchemaFacts | None
    pushes: tuple[facts.Push, ...]
    facts: Mapping[tuple[Section, str], Any]
    """By section and key; None: not recorded."""
    tables: Mapping[tuple[Section, str], Mapping[str, Any] | None]
    """By section and what its keys are of.  Recorded whole or not at all (None): a key
    that one lacks was not there."""
    results: Mapping[str, Any]
    """None: not recorded, or nothing came of it."""


@dataclass(slots=True, kw_only=True)
class _Parts:
    """What a model was made from, or a run as far as it came."""

    model: facts.ModelFacts | None = None
    run: facts.RunFacts | None = None
    data: tuple[facts.DataFacts, ...] = ()
    schema: facts.SchemaFacts | None = None
    transform: facts.TransformFacts | None = None
    training: facts.TrainingFacts | None = None
    verdicts: tuple[facts.Verdict, ...] = ()
    pushes: tuple[facts.Push, ...] = ()


def recorded(reader: Reader, ref: str) -> Recorded:
    """What is recorded of a model, or of a run (which need not have made one).

    Of a run, code, packages, hardware and thresholds are its own; what it took from the
    cache is as it was made.

    Raises:
      NotFoundError: there is no such model or run.
    """
    run = reader.context(RUN, ref)
    try:
        lineage = lineage_of(reader, find_model(reader, ref))
    except NotFoundError:
        if run is None:
            raise
        parts = _of_run(reader, run)
    else:
        parts = _Parts(**facts.same(_Parts, lineage))
        if run is not None:
            parts.run = facts.run_facts(reader, run)
    own = [v for v in parts.verdicts if parts.run and v.run_id == parts.run.run_id]
    verdicts = own or list(parts.verdicts)
    verdict = verdicts[-1] if verdicts else None
    return Recorded(
        ref=ref,
        **facts.same(Recorded, parts),
        facts=_facts(parts),
        tables=_tables(reader, parts, verdict),
        results=_results(parts, verdict),
    )


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables and lists of tables as dotted keys."""
    for key, value in table.items():
        if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            value = {str(i): v for i, v in enumerate(value)}
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _of_run(reader: Reader, run: Context) -> _Parts:
    artifacts = outputs_of_run(reader, run)
    makers = reader.producers([a.id for a in artifacts])
    executions = reader.executions(
        {*makers.values(), *reader.executions_in([run.id]).get(run.id, [])}
    )

    def made(id_: int) -> Execution | None:
        return executions.get(makers.get(id_, 0))

    with_inputs = {e.execution_id for e in reader.events(makers.values()) if e.kind == "input"}
    trainer = next((e for e in executions.values() if e.component == TRAINER), None)
    examples = [a for a in artifacts if a.type == EXAMPLES]
    schemas = [a for a in artifacts if a.type == SCHEMA]
    graphs = [a for a in artifacts if a.type == TRANSFORM_GRAPH]
    return _Parts(
        run=facts.run_facts(reader, run),
        data=tuple(
            facts.data_facts(a, made(a.id)) for a in examples if makers.get(a.id) not in with_inputs
        ),
        schema=facts.schema_facts(schemas[0], made(schemas[0].id)) if schemas else None,
        transform=facts.transform_facts(graphs[0], made(graphs[0].id), trainer) if graphs else None,
        training=facts.training_facts(trainer) if trainer else None,
    )


def _facts(parts: _Parts) -> dict[tuple[Section, str], Any]:
    run, training, transform = parts.run or Run(), parts.training, parts.transform
    values: dict[tuple[Section, str], Any] = {
        ("data", key): _one_or_all([getattr(d, key) for d in parts.data])
        for key in ("digest", "source", "span", "images", "classes", "quarantined")
    }
    # A run that failed early knows its data from looking the cache up.
    values["data", "digest"] = values["data", "digest"] or run.dataset_digest
    settings = _part(parts.run, "transform")
    size = settings.get("image_size")
    seeds = (training and training.seed, run.seed)
    values |= surroundings(run) | {
        ("framework", "framework"): (training and training.framework) or run.framework,
        ("framework", "architecture"): (training and training.architecture) or run.model,
        ("framework", "parameters"): training and training.parameter_count,
        ("transform", "image size"): (transform and transform.image_size)
        or ([size, size] if isinstance(size, int) else size),
        ("transform", "resize"): (transform and transform.resize) or settings.get("resize"),
        ("transform", "code digest"): transform and transform.code_digest,
        ("schema", "frozen"): parts.schema and parts.schema.frozen,
        ("code", "training code digest"): training and training.code_digest,
        ("seed", "seed"): next((s for s in seeds if s is not None), None),
        ("hardware", "accelerator"): (training and training.accelerator) or run.accelerator,
        ("hardware", "host"): run.host,
    }
    return values


def surroundings(run: Run) -> dict[tuple[Section, str], Any]:
    """What a run was made in: commits, Python, the kind of machine."""
    return {
        ("code", "commit"): run.git_commit,
        ("code", "uncommitted changes"): run.git_changes or run.git_dirty,
        ("code", "visionline commit"): run.visionline_git_commit,
        ("code", "visionline uncommitted changes"): run.visionline_git_changes
        or run.visionline_git_dirty,
        ("packages", "python"): run.python,
        ("hardware", "cpus"): run.cpus,
        ("hardware", "platform"): run.platform,
    }


def _tables(
    reader: Reader, parts: _Parts, verdict: facts.Verdict | None
) -> dict[tuple[Section, str], Mapping[str, Any] | None]:
    run, one = parts.run, parts.data[0] if len(parts.data) == 1 else None
    training = parts.training.hyper_parameters if parts.training else None
    hyper = training or _part(run, "train")
    data = _part(run, "data")
    return {
        ("data", ""): {"version": one.version} if one and one.version is not None else {},
        ("data", "images in "): one.splits if one else None,
        ("data", "config "): _without(data, _PLACE),
        ("hyper-parameters", ""): _without(hyper, _ELSEWHERE),
        ("code", "module "): _own_code(run),
        ("packages", ""): run.packages if run else None,
        ("evaluation", ""): _evaluation(reader, _part(run, "evaluate"), verdict),
    }


def _own_code(run: facts.RunFacts | None) -> Mapping[str, Any] | None:
    """Of a model by name there is none; of one's own, None where it was not recorded."""
    if run is None or run.model is None:
        return None
    return run.own_code if ":" in run.model else {}


def _part(run: facts.RunFacts | None, name: str) -> Mapping[str, Any]:
    """A table of a run's config; empty where it is not recorded."""
    part = ((run and run.config) or {}).get(name)
    return part if isinstance(part, Mapping) else {}


def _without(table: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any] | None:
    """A table flat, but for some keys; None if it is empty: not recorded."""
    return {k: v for k, v in flat(table) if k not in keys} if table else None


def _evaluation(
    reader: Reader, settings: Mapping[str, Any] | None, verdict: facts.Verdict | None
) -> dict[str, Any] | None:
    """Thresholds and the baseline; of another pipeline TFX's own config."""
    if not settings and verdict is not None:
        execution = reader.executions([verdict.execution_id])[verdict.execution_id]
        settings = value_of(execution, Parameters.eval_config)
    if not settings:
        return None
    baseline = {"baseline": verdict.baseline} if verdict and verdict.baseline else {}
    return dict(flat(settings)) | baseline


def _results(parts: _Parts, verdict: facts.Verdict | None) -> dict[str, Any]:
    run, training = parts.run, parts.training
    results: dict[str, Any] = {"state": run and run.state}
    for key in NAMES:
        results[key] = verdict.metrics.get(key) if verdict else None
    for key in ("expected_calibration_error", "blessed"):
        results[key] = getattr(verdict, key) if verdict else None
    for key in ("epochs_run", "best_epoch", "train_seconds", "peak_memory_bytes", "latency_ms"):
        results[key] = getattr(training, key) if training else None
    for key in (f"val_{TASK.HEADLINE}", "val_loss"):
        results[key] = training.metrics.get(key) if training else None
    return results


def _one_or_all(values: list[Any]) -> Any:
    """The value, or all of them where a model was made from several datasets."""
    return values[0] if len(values) == 1 else values or None
