"""From a changed key back to what changed first; and why the same key was of no use."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from common.record.artifacts import Pushed
from common.record.kinds import PUSHED_MODEL
from common.record.record import name_of, value_of
from common.record.run import Run
from common.record.steps import Parameters
from lineage.cache.key_diff import Difference, Kind, differences, sentence
from lineage.cache.key_parts import Parts, parts_of
from lineage.graph.producers import BASELINE, runs_of
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Execution

ReasonKind = Kind | Literal["before", "disabled", "first", "unusable", "unknown"]
PUSHER = "components.pusher.Pusher"
_EVALUATION, _EVALUATE = name_of(Parameters.eval_config), "evaluate"
"""The Evaluator's parameter, and the table of our config that it is made from."""
_COMPARED = name_of(Parameters.resolved_baseline)
"""What the Evaluator's driver found to compare with; the input is the record of the same."""
_NOT_RECORDED = (
    "its key changed in something that is not recorded, such as its code or TFX's version"
)
_TO_PUSH = "the newest version in the serving folder was not this model, whole"
_NAMED = 3
"""Root causes that the sentence names; the rest are counted."""

_OUTCOMES = {
    "FAILED": "failed",
    "CANCELED": "was cancelled",
    "RUNNING": "was still running or was killed",
    "NEW": "was still running or was killed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReason:
    """One link of why something was executed."""

    depth: int
    """0: of the component asked about.  A deeper one explains the last less deep one."""
    component: str
    execution_id: int
    run_id: str | None
    """The run of the execution."""
    compared_with: int | None
    """The earlier execution that it differs from."""
    kind: ReasonKind
    """first: nothing earlier has succeeded; unusable: something with the same key could
    not be reused; before: it failed before the cache was looked at; record: an input's
    record was changed; unknown: it is not recorded."""
    key: str | None
    """The parameter or input; dotted, where a part of it changed."""
    before: str | None
    """Of inputs: artifact ids, separated by commas."""
    after: str | None
    text: str
    """The reason as a clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCause:
    component: str
    kind: ReasonKind
    key: str | None
    before: str | None
    after: str | None
    text: str


class Causes:
    """Collects the reasons, from the component asked about back to the first."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._seen: set[tuple[int, int]] = set()
        self._explained: set[int] = set()
        """Places in the chain of what follows from other reasons in it."""
        self.chain: list[CacheReason] = []

    def compare(self, before: Execution, after: Execution, depth: int = 0) -> None:
        """Adds why the key of `after` differs from that of `before`."""
        if (before.id, after.id) in self._seen:
            return
        self._seen.add((before.id, after.id))
        if before.type != after.type:
            text = f"it is a {after.type} now, and was a {before.type}"
            self.add(after, "node", text, before, depth)
            return
        events = self._reader.events([before.id, after.id])
        old, new = parts_of(before, events), parts_of(after, events)
        if old.parameters.get(_EVALUATION) != new.parameters.get(_EVALUATION):
            readable = self._readable(old, before), self._readable(new, after)
            if all(_EVALUATE in p.parameters for p in readable):
                old, new = readable
        changes = differences(old, new, after.type)
        if not changes:
            if old.key is None or old.key != new.key:
                self.add(after, "unknown", _NOT_RECORDED, before, depth)
            elif value_of(after, Parameters.must_push):
                self.add(after, "unusable", _TO_PUSH, before, depth)
            else:
                text = why_not_reused(self._reader, [before], after)
                self.add(after, "unusable", text, before, depth)
        inputs = {d.key for d in changes if d.kind == "input"}
        for difference in changes:
            text = self._text(difference, after)
            self.add(after, difference.kind, text, before, depth, difference)
            place = len(self.chain) - 1
            if difference.kind == "input" and difference.key not in BASELINE:
                if self._upstream(difference, depth + 1):
                    self._explained.add(place)
            elif _follows(difference, after, inputs):
                self._explained.add(place)

    def add(
        self,
        execution: Execution,
        kind: ReasonKind,
        text: str,
        compared_with: Execution | None = None,
        depth: int = 0,
        difference: Difference | None = None,
    ) -> None:
        run = runs_of(self._reader, [execution]).get(execution.id)
        reason = CacheReason(
            depth=depth,
            component=execution.component,
            execution_id=execution.id,
            run_id=run.name if run else None,
            compared_with=compared_with.id if compared_with else None,
            kind=kind,
            key=difference.key if difference else None,
            before=difference.before if difference else None,
            after=difference.after if difference else None,
            text=text,
        )
        self.chain.append(reason)

    def roots(self) -> tuple[RootCause, ...]:
        """Returns the reasons that follow from no other; another baseline only if it is alone."""
        leaves = [r for i, r in enumerate(self.chain) if i not in self._explained]
        own = [r for r in leaves if r.key not in {*BASELINE, _COMPARED}]
        reasons = {(r.component, r.key, r.text): r for r in own or leaves}
        names = [field.name for field in fields(RootCause)]
        return tuple(RootCause(**{n: getattr(r, n) for n in names}) for r in reasons.values())

    def summary(self, component: str) -> str:
        """Returns the root causes as a clause of a sentence about `component`."""
        texts = [
            r.text if r.component == component else f"in {r.component}, {r.text}"
            for r in self.roots()
        ]
        more = [f"and {len(texts) - _NAMED} more"] if len(texts) > _NAMED else []
        return "; ".join(texts[:_NAMED] + more)

    def _readable(self, parts: Parts, execution: Execution) -> Parts:
        """Puts the config's `evaluate` table in the place of what TFX is given for it."""
        run = runs_of(self._reader, [execution]).get(execution.id)
        table = ((value_of(run, Run.config) if run else None) or {}).get(_EVALUATE)
        if table is None:
            return parts
        parameters = {k: v for k, v in parts.parameters.items() if k != _EVALUATION}
        return replace(parts, parameters={**parameters, _EVALUATE: json.dumps(table)})

    def _upstream(self, difference: Difference, depth: int) -> bool:
        """Adds why another artifact was there; returns whether that is recorded."""
        old, new = (
            {int(i) for i in ids.split(",")} if ids else set[int]()
            for ids in (difference.before, difference.after)
        )
        gone, come = old - new, new - old
        if len(gone) != 1 or len(come) != 1:
            return False
        makers = self._reader.producers(gone | come)
        executions = self._reader.executions(makers.values())
        before, after = (executions.get(makers.get(i, 0)) for i in (*gone, *come))
        if before is None or after is None or before.id == after.id:
            return False
        self.compare(before, after, depth)
        return True

    def _text(self, difference: Difference, after: Execution) -> str:
        if difference.kind == "input" and difference.key in BASELINE:
            was, is_ = (self._model(i, after) for i in (difference.before, difference.after))
            return f"the model to compare with is {is_}, and was {was}"
        if _is_version(difference, after):
            return (
                f"{_TO_PUSH}; so it was to become version {difference.after}, "
                f"and not {difference.before} as before"
            )
        if difference.key == _COMPARED:
            was, is_ = (_comparison(text) for text in (difference.before, difference.after))
            return f"it was compared with {is_}, and with {was} before"
        return sentence(difference)

    def _model(self, artifact_id: str | None, judged: Execution) -> str:
        """Names a baseline by what it was last pushed under before it was one."""
        if artifact_id is None:
            return "none"
        model = {name_of(Pushed.model_id): int(artifact_id)}
        for pushed in reversed(self._reader.artifacts_by_type(PUSHED_MODEL, model)):
            recorded = Pushed.read(pushed)
            if recorded.pushed and pushed.created <= judged.created:
                return str(recorded.ref)
        return f"artifact {artifact_id}"


def _is_version(difference: Difference, execution: Execution) -> bool:
    """Says whether it is what Pusher's driver found in the serving folder."""
    return difference.key == "version" and execution.type == PUSHER


def _follows(difference: Difference, execution: Execution, inputs: Collection[str]) -> bool:
    """Says whether a driver found something else because an input is another."""
    if difference.key == _COMPARED:
        return not BASELINE.isdisjoint(inputs) or "model" in inputs
    return _is_version(difference, execution) and "model" in inputs


def _comparison(text: str | None) -> str:
    """Says in words which version an Evaluator compared with."""
    try:
        return str(json.loads(text or "")["version"] or "nothing")
    except (ValueError, KeyError, TypeError):
        return "nothing"


def why_not_reused(reader: Reader, same: Sequence[Execution], later: Execution) -> str:
    """Says why `later` did not reuse any of `same`, as a clause.

    TFX reuses an execution if it succeeded and its outputs are LIVE and there.  What was
    so is told from how it is now, where the times do not speak against it.

    Args:
      same: the executions with its key that began before it, the newest first.
    """
    done = [e for e in same if e.state in ("COMPLETE", "CACHED")]
    newest = (done or same)[0]
    run = runs_of(reader, [newest]).get(newest.id)
    where = f"execution {newest.id}" + (f" of run {run.name}" if run else "")
    earlier = f"the earlier execution with the same key ({where})"
    if not done:
        return f"{earlier} {_OUTCOMES.get(newest.state, f'is {newest.state}')}"
    if newest.state == "COMPLETE" and newest.updated > later.updated:
        return f"{earlier} had not ended yet"
    events = [e for e in reader.events([newest.id]) if e.kind == "output"]
    artifacts = reader.artifacts({e.artifact_id for e in events})
    # As TFX does: the states of all, and then the files.
    for why_unusable in (_by_state, _by_file):
        for event in events:
            reason = why_unusable(artifacts.get(event.artifact_id), later)
            if reason is not None:
                output = f"its output {event.key} (artifact {event.artifact_id})"
                return f"{earlier} could not be reused: {output} {reason}"
    return (
        f"{earlier} was not reused; its outputs are there now, and whether they were then is "
        "not recorded"
    )


def _by_state(artifact: Artifact | None, later: Execution) -> str | None:
    if artifact is None:
        return "is no longer recorded"
    changed_later = artifact.updated > max(later.created, later.updated)
    return None if artifact.state == "LIVE" or changed_later else f"is {artifact.state}"


def _by_file(artifact: Artifact | None, later: Execution) -> str | None:
    path = local_path(artifact.uri) if artifact else None
    return None if path is None or os.path.exists(path) else f"is not at {path}"
