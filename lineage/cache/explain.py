"""`lineage explain-cache`: why a component was taken from the cache, or was not.

TFX takes a node from the cache when an earlier execution with the same key succeeded,
all its outputs are LIVE and their files are there.  So a miss has one of these reasons:
there is no earlier execution of the node; the key differs from all earlier ones, and
then from the nearest in the least; or what had the same key could not be reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.errors import NotFoundError, nearest
from common.record.kinds import CACHE, NODE
from common.record.record import value_of
from common.record.run import Run
from common.record.steps import Step
from lineage.cache.causes import CacheReason, Causes, RootCause, why_not_reused
from lineage.cache.key_diff import differences
from lineage.cache.key_parts import parts_of
from lineage.graph import facts
from lineage.graph.producers import runs_of
from lineage.graph.refs import find_run
from lineage.questions.run_detail import Work, executions_of, works_of
from lineage.questions.runs import is_resolver
from lineage.store.reader import Reader
from lineage.store.records import Context, Execution

_RECENT = 100
"""Earlier executions of a node that are compared."""
_NEAREST = 5
"""Of those that differ least in their keys, how many are followed to their root causes."""
Outcome = Literal["hit", "miss", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheExplanation:
    """Why a component was taken from the cache, or was not."""

    run_id: str
    component: str
    execution_id: int
    state: str
    """As MLMD calls it: COMPLETE, CACHED, FAILED, CANCELED, RUNNING."""
    outcome: Outcome
    """never: it only looks something up, which TFX does anew in each run."""
    summary: str
    """The root cause in one sentence."""
    root_causes: tuple[RootCause, ...]
    """Of a miss; where there are several, all of them."""
    chain: tuple[CacheReason, ...]
    """From the component back to the root causes."""
    reused: Work | None
    """Of a hit."""
    compared_with: Work | None
    """Of a miss: the earlier execution whose key differs least."""
    cache_key: str | None
    exact: bool
    """The parts of the key were recorded.  If not, inputs and what looks like a parameter
    were compared; code, versions of TFX and changes of records are not seen then."""


def explain_cache(reader: Reader, run_ref: str, component: str) -> CacheExplanation:
    """Says why a component of a run was taken from the cache, or was not.

    Args:
      run_ref: a run's name, or what a run has made.
      component: a node's id; upper and lower case are the same.

    Raises:
      NotFoundError: there is no such run, or no such component ran in it.
    """
    run = find_run(reader, run_ref)
    return _Question(reader, run, _find(reader, run, component)).answer()


class _Question:
    """One execution, and what was there before it."""

    def __init__(self, reader: Reader, run: Context, execution: Execution) -> None:
        self._reader = reader
        self._run = run
        self._execution = execution
        self._parts = parts_of(execution, reader.events([execution.id]))
        id_, pipeline = value_of(execution, Step.node_id), value_of(run, Run.pipeline)
        key = self._parts.key
        node = reader.context(NODE, f"{pipeline}.{id_}") if id_ and pipeline else None
        if key is None or node is None:
            contexts = reader.contexts_of([execution.id]).get(execution.id, [])
            key = key or next((c.name for c in contexts if c.type == CACHE), None)
            node = node or next((c for c in contexts if c.type == NODE), None)
        self._key = key
        self._node = node

    def answer(self) -> CacheExplanation:
        execution = self._execution
        if is_resolver(execution):
            text = "only looks something up, which is done anew in each run"
            return self._explained("never", text)
        if execution.state == "CACHED":
            return self._hit()
        if self._key is None and execution.state == "FAILED":
            error = value_of(execution, Step.error) or "the reason is not recorded"
            return self._miss("before", f"it failed before the cache was looked at: {error}")
        if not self._parts.enabled:
            return self._miss("disabled", "the cache was disabled for it")
        recent = self._before(self._node)
        same = self._same(recent)
        if same:
            return self._miss("unusable", why_not_reused(self._reader, same, execution))
        others = self._workers(recent)
        if others:
            return self._changed(others)
        earlier = "no earlier execution of it had succeeded" if recent else "it had not run before"
        return self._miss("first", earlier)

    def _hit(self) -> CacheExplanation:
        events = self._reader.events([self._execution.id])
        work = works_of(self._reader, [self._execution], events).get(self._execution.id)
        if work is None:
            text = "was taken from the cache; the execution that did the work is not recorded"
            return self._explained("hit", text)
        reused = self._work(work)
        text = (
            f"was taken from the cache: execution {work.id} of run "
            f"{reused.run_id or '(not recorded)'} had done the same work, with the same key"
        )
        return self._explained("hit", text, reused=reused)

    def _changed(self, others: list[Execution]) -> CacheExplanation:
        events = self._reader.events([e.id for e in others])
        type_ = self._execution.type
        distances = [len(differences(parts_of(e, events), self._parts, type_)) for e in others]
        near = [e for e, d in zip(others, distances, strict=True) if d == min(distances)]
        explained = []
        for earlier in near[:_NEAREST]:
            causes = Causes(self._reader)
            causes.compare(earlier, self._execution)
            explained.append((earlier, causes))
        # The newest comes first, and so wins where there is nothing between them.
        closest, causes = min(explained, key=lambda e: len(e[1].roots()))
        return self._explained(
            "miss",
            f"was executed because {causes.summary(self._execution.component)}",
            compared_with=self._work(closest),
            causes=causes,
            exact=self._parts.recorded and value_of(closest, Step.cache_parts) is not None,
        )

    def _miss(
        self, kind: Literal["before", "disabled", "unusable", "first"], text: str
    ) -> CacheExplanation:
        causes = Causes(self._reader)
        causes.add(self._execution, kind, text)
        return self._explained("miss", f"was executed because {text}", causes=causes)

    def _explained(
        self,
        outcome: Outcome,
        summary: str,
        *,
        reused: Work | None = None,
        compared_with: Work | None = None,
        causes: Causes | None = None,
        exact: bool | None = None,
    ) -> CacheExplanation:
        execution = self._execution
        return CacheExplanation(
            run_id=self._run.name or "",
            component=execution.component,
            execution_id=execution.id,
            state=execution.state,
            outcome=outcome,
            summary=f"{execution.component} {summary.rstrip('.')}.",
            root_causes=causes.roots() if causes else (),
            chain=tuple(causes.chain) if causes else (),
            reused=reused,
            compared_with=compared_with,
            cache_key=self._key,
            exact=self._parts.recorded if exact is None else exact,
        )

    def _same(self, recent: list[Execution]) -> list[Execution]:
        """Returns earlier executions with the same key, the newest first."""
        if self._key is None:
            return []
        # One that was stopped is not in the key's context, and says its key itself.
        same = [e for e in recent if value_of(e, Step.cache_key) == self._key]
        same += self._before(self._reader.context(CACHE, self._key))
        return sorted({e.id: e for e in same}.values(), key=lambda e: -e.id)

    def _workers(self, recent: list[Execution]) -> list[Execution]:
        """Returns those that succeeded, the latest used first; of cached ones who did the work."""
        events = self._reader.events([e.id for e in recent if e.state == "CACHED"])
        works = works_of(self._reader, recent, events)
        workers = [works.get(e.id, e) for e in recent]
        return list({w.id: w for w in workers if w.state == "COMPLETE"}.values())

    def _before(self, context: Context | None) -> list[Execution]:
        """Returns the latest executions in a context before this one, the newest first."""
        if context is None:
            return []
        ids = self._reader.executions_in([context.id]).get(context.id, [])
        before = [i for i in ids if i < self._execution.id][-_RECENT:]
        return [e for _, e in sorted(self._reader.executions(before).items(), reverse=True)]

    def _work(self, execution: Execution) -> Work:
        run = runs_of(self._reader, [execution]).get(execution.id)
        step = facts.step(execution, run)
        return Work(
            execution_id=execution.id, run_id=step.run_id, duration_seconds=step.duration_seconds
        )


def _find(reader: Reader, run: Context, component: str) -> Execution:
    executions = executions_of(reader, run, resolvers=True)
    for execution in reversed(executions):
        if execution.component.lower() == component.lower():
            return execution
    ran = list(dict.fromkeys(e.component for e in executions))
    prefix = f"{facts.pipeline_of(reader, run)}."
    for node in reader.latest_contexts(NODE):
        other = (node.name or "").removeprefix(prefix)
        if other != node.name and other.lower() == component.lower():
            raise NotFoundError(
                f"{other} did not run in {run.name}. These did: {', '.join(ran) or 'none'}."
            )
    raise NotFoundError(
        f"No component {component!r} ran in {run.name}.{nearest(component, ran)} "
        f"These did: {', '.join(ran) or 'none'}."
    )
