"""`lineage runs`: the latest runs, one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from common.errors import ConfigError, nearest
from common.record.artifacts import Blessing, Pushed
from common.record.kinds import BLESSING, EVALUATION, INFRA_BLESSING, PIPELINE, PUSHED_MODEL, RUN
from common.record.record import names_of, value_of
from common.record.run import CANCELLED, COMPLETE, FAILED, RUNNING, Run
from common.record.steps import Push, Step, Verdict
from lineage.graph import facts
from lineage.graph.alive import ENDED, OPEN
from lineage.graph.measured import Measured, metrics
from lineage.graph.refs import find_run
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Context, Execution

STATES = (RUNNING, COMPLETE, FAILED, CANCELLED, facts.UNKNOWN)
_RESOLVERS = ("tfx.dsl.components.common.resolver.", "tfx.dsl.components.common.importer.")
"""Types of nodes that only look something up: executions in MLMD, but no steps."""
_PIPELINE, _STATE = names_of(Run.pipeline, Run.state)
_PAGE = 200
"""Runs looked at together where not all of them are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Measured):
    """One run, in short.

    The metrics are those of its model as the Evaluator measured it, in this run or in one it
    was reused from.
    """

    run_id: str
    pipeline: str | None
    state: str
    """running, complete, failed, cancelled, or unknown: how it ended was not imported."""
    error: str | None
    started: str
    duration_seconds: float | None
    framework: str | None
    model: str | None
    """The architecture's name."""
    blessed: bool | None
    """By the Evaluator and, where it was tried, by the server; None: there is no verdict."""
    pushed: str | None
    """name@version under which its model was pushed; None if it was not."""
    pushed_before: bool
    """Its model was pushed by an earlier run; this one found it served and left it there."""
    cached: int
    """Components taken from the cache."""
    executed: int
    """Components that did work, whether they succeeded or not."""
    user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """Runs, the newest first."""

    runs: tuple[RunSummary, ...]


def list_runs(
    reader: Reader,
    limit: int = 20,
    pipeline: str | None = None,
    state: str | None = None,
    older_than: str | None = None,
) -> RunList:
    """The latest runs.

    Args:
      limit: how many at most.
      pipeline, state: only runs of this pipeline, in this state.
      older_than: only runs recorded before the one of this name.

    Raises:
      ConfigError: there is no such state.
      NotFoundError: there is no run `older_than`.
    """
    if state is not None and state not in STATES:
        raise ConfigError(
            f"Expected a run's state, one of {', '.join(STATES)}; got {state!r}."
            + nearest(state, STATES)
        )
    before = None if older_than is None else find_run(reader, older_than).id
    wanted = {k: v for k, v in ((_PIPELINE, pipeline), (_STATE, state)) if v is not None}
    pipelines = _Pipelines(reader, pipeline)
    like: dict[str, Collection[str | None]] = {k: (v, None) for k, v in wanted.items()}
    if state == FAILED:
        like[_STATE] = (FAILED, RUNNING, None)  # what a killed run still says
    if state == facts.UNKNOWN:
        like[_STATE] = (RUNNING,)
    if pipeline is not None and reader.context(PIPELINE, pipeline) is None:
        like[_PIPELINE] = (pipeline,)
    runs: list[RunSummary] = []
    size = limit
    while len(runs) < limit:
        page = reader.latest_contexts(RUN, size, before=before, like=like)
        summaries = _summaries(reader, page, pipelines)
        runs += [s for s in summaries if all(getattr(s, k) == v for k, v in wanted.items())]
        if len(page) < size:
            break
        before, size = page[-1].id, _PAGE
    return RunList(runs=tuple(runs[:limit]))


def is_resolver(execution: Execution) -> bool:
    """Whether it only looked something up, and is no step of the pipeline."""
    return execution.type.startswith(_RESOLVERS)


def duration(run: Context, state: str, executions: Collection[Execution]) -> float | None:
    """Seconds; from the executions' times where it was not recorded, None if it has not ended."""
    recorded = value_of(run, Run.duration_seconds)
    if recorded is not None:
        return recorded
    if state in (RUNNING, facts.UNKNOWN) or not executions:
        return None
    return (max(map(facts.ended, executions)) - min(e.created for e in executions)) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What belongs to one run."""

    run: Context
    executions: list[Execution]
    outputs: dict[str, tuple[Execution, Artifact]]
    """By the artifact's type; of each the last, with the execution that this run has of it."""


def _summaries(reader: Reader, runs: Sequence[Context], pipelines: _Pipelines) -> list[RunSummary]:
    parts = _parts(reader, runs)
    judges = _judges(reader, parts)
    names = pipelines.of(parts)
    return [_summary(p, names.get(p.run.id), judges.get(p.run.id)) for p in parts]


def _parts(reader: Reader, runs: Sequence[Context]) -> list[_Parts]:
    by_run = reader.executions_in([r.id for r in runs])
    executions = reader.executions({i for ids in by_run.values() for i in ids})
    steps = {i for i, e in executions.items() if not is_resolver(e)}
    events = [e for e in reader.events(steps) if e.kind == "output"]
    artifacts = reader.artifacts({e.artifact_id for e in events})
    made: dict[int, list[Artifact]] = defaultdict(list)
    for event in events:
        if event.artifact_id in artifacts:
            made[event.execution_id].append(artifacts[event.artifact_id])
    own = {r.id: [executions[i] for i in by_run.get(r.id, []) if i in steps] for r in runs}
    outputs = {run: {a.type: (e, a) for e in es for a in made[e.id]} for run, es in own.items()}
    return [_Parts(run=r, executions=own[r.id], outputs=outputs[r.id]) for r in runs]


def _judges(reader: Reader, parts: Sequence[_Parts]) -> dict[int, Execution]:
    """The execution that evaluated each run's model, by run; reuse is followed."""
    judges: dict[int, Execution] = {}
    reused: dict[int, int] = {}
    for part in parts:
        if EVALUATION not in part.outputs:
            continue
        execution, evaluation = part.outputs[EVALUATION]
        if execution.state == "CACHED":
            reused[part.run.id] = evaluation.id
        else:
            judges[part.run.id] = execution
    makers = reader.producers(set(reused.values()))
    executions = reader.executions(set(makers.values()))
    for run, artifact in reused.items():
        if makers.get(artifact) in executions:
            judges[run] = executions[makers[artifact]]
    return judges


class _Pipelines:
    """The names of runs' pipelines.

    Args:
      only: the one pipeline that is asked for; runs of others get no name then.
    """

    def __init__(self, reader: Reader, only: str | None) -> None:
        self._reader = reader
        self._only = only
        self._members: set[int] | None = None

    def of(self, parts: Sequence[_Parts]) -> dict[int, str]:
        """By run; searched for where runs do not say it."""
        names: dict[int, str] = {}
        unsaid: dict[int, int] = {}
        for part in parts:
            recorded = value_of(part.run, Run.pipeline)
            if recorded is not None:
                names[part.run.id] = recorded
            elif part.executions:
                unsaid[part.executions[0].id] = part.run.id
        return names | (self._searched(unsaid) if unsaid else {})

    def _searched(self, runs: Mapping[int, int]) -> dict[int, str]:
        """By run; `runs` are by an execution of theirs."""
        if self._only is not None:
            return {run: self._only for id_, run in runs.items() if id_ in self._executions()}
        return {
            runs[execution]: context.name
            for execution, contexts in self._reader.contexts_of(runs, PIPELINE).items()
            for context in contexts
            if context.name
        }

    def _executions(self) -> set[int]:
        """All of the pipeline that is asked for."""
        if self._members is None:
            context = self._reader.context(PIPELINE, self._only or "")
            ids = self._reader.executions_in([context.id]) if context else {}
            self._members = {i for own in ids.values() for i in own}
        return self._members


def _summary(part: _Parts, pipeline: str | None, judge: Execution | None) -> RunSummary:
    run = part.run
    state = facts.run_state(run, part.executions)
    cached = sum(e.state == "CACHED" for e in part.executions)
    _, blessing = part.outputs.get(BLESSING, (None, None))
    pusher, pushed = part.outputs.get(PUSHED_MODEL, (None, None))
    name = _pushed_name(pushed) if pushed else None
    left_alone = pusher and (pusher.state == "CACHED" or value_of(pusher, Push.already_served))
    blessed = value_of(blessing, Blessing.blessed) if blessing else None
    _, infra = part.outputs.get(INFRA_BLESSING, (None, None))
    if blessed is not None and infra is not None and not value_of(infra, Blessing.blessed):
        blessed = False
    return RunSummary(
        run_id=run.name or "",
        pipeline=pipeline,
        state=state,
        error=value_of(run, Run.error) or first_error(state, part.executions),
        started=facts.when(run.created),
        duration_seconds=duration(run, state, part.executions),
        framework=value_of(run, Run.framework),
        model=value_of(run, Run.model),
        metrics=metrics(Verdict.read(judge)) if judge else {},
        blessed=blessed,
        pushed=name,
        pushed_before=name is not None and bool(left_alone),
        cached=cached,
        executed=len(part.executions) - cached,
        user=value_of(run, Run.user),
    )


def first_error(state: str, executions: Sequence[Execution]) -> str | None:
    """What a run's executions say went wrong, where the run itself does not."""
    if state != FAILED:
        return None
    for execution in executions:
        if execution.state == "FAILED":
            reason = value_of(execution, Step.error)
            return f"{execution.component}: {reason or 'failed; the reason is not recorded'}"
    # Recorded as running, and nothing of it is alive.
    left = next((f"{e.component}: " for e in executions if e.state in OPEN), "")
    return f"{left}{ENDED}"


def _pushed_name(pushed: Artifact) -> str | None:
    """name@version; of TFX's own Pusher the folder it pushed to."""
    recorded = Pushed.read(pushed)
    if not recorded.pushed:
        return None
    return recorded.ref or recorded.pushed_destination or pushed.uri
