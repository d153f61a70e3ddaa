"""Who made an artifact.

TFX reuses artifacts through its cache, and an Evaluator takes the last good model as
a baseline.  Followed blindly, either drags half the store in: so reuse leads to the
execution that did the work, and the baseline's own ancestry is cut off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from common.record.kinds import RUN
from common.record.record import value_of
from common.record.steps import Step
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Event, Execution

BASELINE = frozenset({"baseline_model", "baseline_predictions", "candidate"})
"""Inputs that a thing is compared with, or for, and not made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A part of a store.  Every event's two ends are in it."""

    artifacts: Mapping[int, Artifact]
    executions: Mapping[int, Execution]
    events: tuple[Event, ...]
    """Sorted."""


def ancestry(
    reader: Reader, artifact_ids: Collection[int], cut: Collection[str] = BASELINE
) -> Graph:
    """What artifacts were made from, and by what.

    Args:
      cut: keys of inputs that are not followed.
    """
    seen, executions, events = set(artifact_ids), set[int](), set[Event]()
    frontier = set(artifact_ids)
    while frontier:
        makers = reader.producers(frontier)
        new = set(makers.values()) - executions
        executions |= new
        for event in reader.events(set(makers.values())):
            made = makers.get(event.artifact_id) == event.execution_id
            if made if event.kind == "output" else event.key not in cut:
                events.add(event)
        frontier = {e.artifact_id for e in events if e.kind == "input"} - seen
        seen |= frontier
    artifacts = reader.artifacts(seen)
    makers_of = reader.executions(executions)
    # An event may name what is no longer, or never was, in the store.
    whole = (e for e in events if e.artifact_id in artifacts and e.execution_id in makers_of)
    return Graph(artifacts=artifacts, executions=makers_of, events=tuple(sorted(whole)))


def runs_of(reader: Reader, executions: Collection[Execution]) -> dict[int, Context]:
    """The run of each execution, by execution id.

    visionline records the run's id on the execution.  Where it is not, the store is
    searched, which takes longer the larger it is.
    """
    names = {e.id: name for e in executions if (name := value_of(e, Step.run_id))}
    by_name = reader.contexts_named(RUN, set(names.values())) if names else {}
    runs = {id_: by_name[name] for id_, name in names.items() if name in by_name}
    missing = {e.id for e in executions} - runs.keys()
    if missing:
        contexts = reader.contexts_of(missing, RUN)
        runs |= {execution_id: c[-1] for execution_id, c in contexts.items()}
    return runs
