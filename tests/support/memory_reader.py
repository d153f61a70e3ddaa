"""A store in memory, as a `lineage.store.reader.Reader`, for graphs that no pipeline makes.

Nothing is checked: events may lead nowhere, and to cycles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from lineage.store.records import Artifact, Context, Event, Execution, Value


@dataclass
class MemoryReader:
    """See `store.Reader`."""

    artifact: dict[int, Artifact] = field(default_factory=dict)
    execution: dict[int, Execution] = field(default_factory=dict)
    contexts_by_id: dict[int, Context] = field(default_factory=dict)
    event: list[Event] = field(default_factory=list)
    association: list[tuple[int, int]] = field(default_factory=list)
    """Context and execution."""
    where: str = "memory"

    def close(self) -> None: ...

    def artifacts(self, ids: Collection[int]) -> dict[int, Artifact]:
        return {i: self.artifact[i] for i in sorted(ids) if i in self.artifact}

    def executions(self, ids: Collection[int]) -> dict[int, Execution]:
        return {i: self.execution[i] for i in sorted(ids) if i in self.execution}

    def contexts(self, ids: Collection[int]) -> dict[int, Context]:
        return {i: self.contexts_by_id[i] for i in sorted(ids) if i in self.contexts_by_id}

    def artifacts_by_uri(self, uri: str) -> list[Artifact]:
        return [a for a in self.all_artifacts() if a.uri == uri]

    def artifacts_by_type(
        self, type_name: str, where: Mapping[str, Value] | None = None
    ) -> list[Artifact]:
        wanted = (where or {}).items()
        found = (a for a in self.all_artifacts() if a.type == type_name)
        return [a for a in found if all(a.custom.get(k) == v for k, v in wanted)]

    def context(self, type_name: str, name: str) -> Context | None:
        found = (c for c in self.contexts_by_id.values() if (c.type, c.name) == (type_name, name))
        return next(found, None)

    def latest_contexts(self, type_name: str, limit: int | None = None) -> list[Context]:
        found = [c for c in self.contexts_by_id.values() if c.type == type_name]
        return sorted(found, key=lambda c: -c.id)[:limit]

    def executions_in(self, context_ids: Collection[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for context, execution in sorted(self.association):
            if context in context_ids:
                found[context].append(execution)
        return dict(found)

    def contexts_of(self, execution_ids: Collection[int]) -> dict[int, list[Context]]:
        found: dict[int, list[Context]] = defaultdict(list)
        for context, execution in sorted(self.association):
            if execution in execution_ids and context in self.contexts_by_id:
                found[execution].append(self.contexts_by_id[context])
        return dict(found)

    def events(self, execution_ids: Collection[int]) -> list[Event]:
        return sorted(e for e in self.event if e.execution_id in execution_ids)

    def producers(self, artifact_ids: Collection[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for event in sorted(self.event):
            if event.kind == "output" and event.artifact_id in artifact_ids and self._worked(event):
                found.setdefault(event.artifact_id, event.execution_id)
        return found

    def consumers(self, artifact_ids: Collection[int]) -> list[Event]:
        inputs = (e for e in self.event if e.kind == "input" and e.artifact_id in artifact_ids)
        return sorted(filter(self._worked, inputs))

    def all_artifacts(self) -> Iterator[Artifact]:
        yield from (a for _, a in sorted(self.artifact.items()))

    def all_events(self) -> Iterator[Event]:
        yield from self.event

    def execution_states(self) -> dict[int, str]:
        return {e.id: e.state for e in self.execution.values()}

    def _worked(self, event: Event) -> bool:
        found = self.execution.get(event.execution_id)
        return found is not None and found.state != "CACHED"
