"""What is still needed of a store's artifacts, and for what.

The roots are every pushed model, the newest blessed model of each pipeline and name,
pinned models, and what a run repeated unchanged would take from the cache.  Needed is
what can be reached from them: all inputs and all outputs of each execution that made
or reused a needed artifact.  All outputs, because TFX reuses an execution's outputs
together or not at all; all inputs, baselines among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from common.record.artifacts import Blessing, Imported, Pushed
from common.record.kinds import BLESSING, MODEL, PIPELINE, PUSHED_MODEL, RUN
from common.record.record import value_of
from common.record.run import COMPLETE, RUNNING, Run
from lineage.graph.marks import pins
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context

Need = Literal["pushed", "blessed", "pinned", "running", "reused"]
"""pushed: from a pushed model, in serving or not; blessed: from the newest blessed
one; running: used by a run that has not ended; reused: by one of the latest runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What matters of an artifact here; a store may hold very many."""

    id: int
    type: str
    uri: str
    state: str
    external: bool
    """Imported from a place of its own, and not made by a pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Events, by both ends."""

    inputs: Mapping[int, list[int]]
    """Artifact ids by execution id."""
    outputs: Mapping[int, list[int]]
    """Artifact ids by execution id; of cached executions, too."""
    makers: Mapping[int, list[int]]
    """Execution ids by artifact id: the one that made it and those that reused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    records: Mapping[int, Record]
    needed: Mapping[int, Need]
    """The first reason, in the order of `Need`, by artifact id."""
    links: Links
    runs: Mapping[int, Context]
    """By execution id."""
    destinations: frozenset[str]
    """Every place that something was pushed to."""


@dataclass(slots=True)
class _Runs:
    """Runs and executions, by each other."""

    newest_first: list[Context]
    executions: dict[int, list[int]]
    """By the id of the run's context."""
    pipelines: dict[int, str | None]
    """Pipeline's name by the id of the run's context."""
    by_execution: dict[int, Context] = field(default_factory=dict)


def needs(reader: Reader, keep_runs: int) -> Needs:
    """Reads the whole store.

    Args:
      keep_runs: of each pipeline, so many complete runs, and every run since the
        oldest of them, are ones that may be repeated.
    """
    records, pushes, blessings = {}, [], []
    for artifact in reader.all_artifacts():
        external = bool(value_of(artifact, Imported.is_external))
        records[artifact.id] = Record(
            **{k: getattr(artifact, k) for k in ("id", "type", "uri", "state")}, external=external
        )
        if artifact.type == PUSHED_MODEL and value_of(artifact, Pushed.pushed):
            pushes.append(artifact)
        elif artifact.type == BLESSING and value_of(artifact, Blessing.blessed):
            blessings.append(artifact)
    links, runs, states = _links(reader), _runs(reader), reader.execution_states()
    roots: dict[Need, Iterable[int]] = {
        "pushed": [a for p in pushes for a in (p.id, *_models(p, Pushed.model_id, links, records))],
        "blessed": _newest_blessed(blessings, links, records, runs),
        "pinned": [p.model_id for p in pins(reader).pins],
        "running": _used_by(_running(runs, states), links),
        "reused": _used_by(_latest(runs, states, keep_runs), links),
    }
    return Needs(
        records=records,
        needed=reach(roots, links),
        links=links,
        runs=runs.by_execution,
        destinations=frozenset(
            d for p in pushes if (d := value_of(p, Pushed.pushed_destination)) is not None
        ),
    )


def reach(roots: Mapping[Need, Iterable[int]], links: Links) -> dict[int, Need]:
    """Returns everything that can be reached from roots, with the first reason for it."""
    needed: dict[int, Need] = {}
    executions: set[int] = set()
    for need, ids in roots.items():
        frontier = [i for i in ids if i not in needed]
        while frontier:
            needed.update(dict.fromkeys(frontier, need))
            makers = {e for a in frontier for e in links.makers.get(a, ())} - executions
            executions |= makers
            near = {a for e in makers for d in (links.inputs, links.outputs) for a in d.get(e, ())}
            frontier = [a for a in near if a not in needed]
    return needed


def _links(reader: Reader) -> Links:
    inputs: dict[int, list[int]] = defaultdict(list)
    outputs: dict[int, list[int]] = defaultdict(list)
    makers: dict[int, list[int]] = defaultdict(list)
    for event in reader.all_events():
        if event.kind == "input":
            inputs[event.execution_id].append(event.artifact_id)
        else:
            outputs[event.execution_id].append(event.artifact_id)
            makers[event.artifact_id].append(event.execution_id)
    return Links(inputs=inputs, outputs=outputs, makers=makers)


def _runs(reader: Reader) -> _Runs:
    newest_first = reader.latest_contexts(RUN)
    executions = reader.executions_in([r.id for r in newest_first])
    contexts = {c.id: c.name for c in reader.latest_contexts(PIPELINE)}
    members = reader.executions_in(contexts.keys())
    pipeline_of = {e: contexts[c] for c, ids in members.items() for e in ids}
    runs = _Runs(newest_first=newest_first, executions=executions, pipelines={})
    for run in newest_first:
        mine = executions.get(run.id, [])
        runs.pipelines[run.id] = value_of(run, Run.pipeline) or next(
            (pipeline_of[e] for e in mine if e in pipeline_of), None
        )
        runs.by_execution.update(dict.fromkeys(mine, run))
    return runs


def _newest_blessed(
    blessings: Iterable[Artifact], links: Links, records: Mapping[int, Record], runs: _Runs
) -> Iterable[int]:
    """Yields the newest of each pipeline and model name that still has its files."""
    seen = set()
    for blessing in sorted(blessings, key=lambda b: -b.id):
        made_in = min(links.makers.get(blessing.id, ()), default=0)
        run = runs.by_execution.get(made_in)
        # One pipeline may push under several names.
        name = (value_of(run, Run.config) or {}).get("name") if run else None
        group = (runs.pipelines[run.id] if run else None, name)
        models = [
            m
            for m in _models(blessing, Blessing.current_model_id, links, records)
            if records[m].state != "DELETED"
        ]
        if models and group not in seen:
            seen.add(group)
            yield from models


def _models(
    artifact: Artifact, field: int | None, links: Links, records: Mapping[int, Record]
) -> Iterable[int]:
    """Returns the model that was pushed or judged: as recorded, or its maker's input."""
    recorded = value_of(artifact, field)
    if recorded is not None and recorded in records:
        return [recorded]
    inputs = (a for e in links.makers.get(artifact.id, ()) for a in links.inputs.get(e, ()))
    return [a for a in inputs if a in records and records[a].type == MODEL]


def _running(runs: _Runs, states: Mapping[int, str]) -> set[int]:
    """Returns executions that have not ended, and all of the runs that have not."""
    running = {e for e, state in states.items() if state in ("NEW", "RUNNING")}
    for run in runs.newest_first:
        if value_of(run, Run.state) == RUNNING:
            running.update(runs.executions.get(run.id, ()))
    return running


def _latest(runs: _Runs, states: Mapping[int, str], keep_runs: int) -> set[int]:
    """Returns the executions of each pipeline's latest runs.

    Runs that failed or were stopped do not count: what they would carry on with was
    left by complete ones.
    """
    latest: set[int] = set()
    complete: dict[str | None, int] = defaultdict(int)
    for run in runs.newest_first:
        pipeline, mine = runs.pipelines[run.id], runs.executions.get(run.id, [])
        if complete[pipeline] >= keep_runs:
            continue
        latest.update(mine)
        ended_well = bool(mine) and all(states.get(e) in ("COMPLETE", "CACHED") for e in mine)
        complete[pipeline] += ended_well and value_of(run, Run.state) in (None, COMPLETE)
    return latest


def _used_by(executions: Iterable[int], links: Links) -> Iterable[int]:
    for execution in executions:
        yield from links.outputs.get(execution, ())
        yield from links.inputs.get(execution, ())
