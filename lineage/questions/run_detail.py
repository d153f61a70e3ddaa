"""`lineage run`: one run, component by component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.record.run import FAILED
from lineage.graph import facts
from lineage.graph.alive import OPEN
from lineage.graph.producers import runs_of
from lineage.graph.refs import find_run
from lineage.questions.runs import duration, first_error, is_resolver
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Event, Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An artifact that a component read or wrote."""

    key: str
    """Of the component's inputs or outputs, such as "examples"."""
    artifact_id: int
    type: str
    uri: str
    state: str
    """LIVE, DELETED …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The execution that did the work which a cached one reuses."""

    execution_id: int
    run_id: str | None
    duration_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """What one component did in a run."""

    component: str
    execution_id: int
    state: str
    """As MLMD calls it: COMPLETE, CACHED, FAILED, CANCELED, RUNNING."""
    started: str
    duration_seconds: float | None
    """None while it runs."""
    error: str | None
    reused: Work | None
    """Of a cached one; None too where the work's execution is not in the store."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    run: facts.RunFacts
    steps: tuple[RunStep, ...]
    """In the order they were begun."""


def run_detail(reader: Reader, ref: str, *, resolvers: bool = False) -> RunDetail:
    """What a run did.

    Args:
      ref: a run's name, or what a run has made.
      resolvers: also nodes that only look something up, such as the baseline.

    Raises:
      NotFoundError: there is no such run.
    """
    run = find_run(reader, ref)
    executions = executions_of(reader, run, resolvers=resolvers)
    events = reader.events([e.id for e in executions])
    artifacts = reader.artifacts({e.artifact_id for e in events})
    works = _works(reader, executions, events)
    state = facts.run_state(run, executions)
    error = first_error(state, executions)
    if state == FAILED:
        # Of a run that has ended, nothing runs, whatever was recorded last.
        executions = [replace(e, state="FAILED") if e.state in OPEN else e for e in executions]
    recorded = facts.run_facts(reader, run)
    return RunDetail(
        run=replace(
            recorded,
            state=state,
            duration_seconds=duration(run, state, executions),
            error=recorded.error or error,
        ),
        steps=tuple(_step(e, events, artifacts, works.get(e.id)) for e in executions),
    )


def executions_of(reader: Reader, run: Context, *, resolvers: bool = False) -> list[Execution]:
    """A run's executions in order."""
    executions = reader.executions(reader.executions_in([run.id]).get(run.id, []))
    steps = [e for e in executions.values() if resolvers or not is_resolver(e)]
    # What was imported has ids in another order than it was executed in.
    return sorted(steps, key=lambda e: (e.created, e.id))


def works_of(
    reader: Reader, executions: list[Execution], events: list[Event]
) -> dict[int, Execution]:
    """The execution that did the work, by id of a cached one among `executions`."""
    output = {e.execution_id: e.artifact_id for e in reversed(events) if e.kind == "output"}
    made = {e.id: output[e.id] for e in executions if e.state == "CACHED" and e.id in output}
    makers = reader.producers(set(made.values()))
    works = reader.executions(set(makers.values()))
    return {i: works[makers[a]] for i, a in made.items() if makers.get(a) in works}


def _works(reader: Reader, executions: list[Execution], events: list[Event]) -> dict[int, Work]:
    done_by = works_of(reader, executions, events)
    runs = runs_of(reader, list(done_by.values()))
    steps = {id_: facts.step(e, runs.get(e.id)) for id_, e in done_by.items()}
    return {id_: Work(**facts.same(Work, step)) for id_, step in steps.items()}


def _step(
    execution: Execution,
    events: list[Event],
    artifacts: Mapping[int, Artifact],
    work: Work | None,
) -> RunStep:
    own = [e for e in events if e.execution_id == execution.id and e.artifact_id in artifacts]
    own.sort(key=lambda e: (e.key, e.index))
    return RunStep(
        **facts.same(RunStep, facts.step(execution, None)),
        reused=work,
        inputs=tuple(_port(e, artifacts[e.artifact_id]) for e in own if e.kind == "input"),
        outputs=tuple(_port(e, artifacts[e.artifact_id]) for e in own if e.kind == "output"),
    )


def _port(event: Event, artifact: Artifact) -> Port:
    return Port(
        key=event.key,
        artifact_id=artifact.id,
        type=artifact.type,
        uri=artifact.uri,
        state=artifact.state,
    )
