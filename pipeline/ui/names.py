"""The models by name: which version is served, and how many there were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lineage.graph.pushed import PushRef, pushes, serving_states, versions_of
from lineage.graph.versions import VersionRecord, records
from lineage.store.reader import Reader

_TIME = attrgetter("artifact_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    name: str
    served: VersionRecord | None
    """The newest in its serving folder now."""
    newest: VersionRecord
    """The last that was pushed."""
    versions: int
    """Ever pushed."""
    kept: int
    """In their serving folders now beside the newest."""


def named_models(reader: Reader, limit: int) -> tuple[list[NamedModel], int]:
    """The models whose last push is newest, by name; and how many there are in all.

    Reads the details of two versions of each at most, however many there were.
    """
    refs = versions_of(pushes(reader))
    by_name: dict[str, list[PushRef]] = defaultdict(list)
    for ref in refs:
        by_name[ref.name].append(ref)
    newest = {name: max(own, key=_TIME) for name, own in by_name.items()}
    shown = sorted(newest, key=lambda name: -newest[name].artifact_id)[:limit]
    states = serving_states([r for name in shown for r in by_name[name]])
    served = {name: _latest(by_name[name], states) for name in shown}
    wanted = {r.artifact_id: r for n in shown for r in (newest[n], served[n]) if r is not None}
    details = {v.artifact_id: v for v in records(reader, list(wanted.values()), states)}
    models = []
    for name in sorted(shown):
        latest = served[name]
        models.append(
            NamedModel(
                name=name,
                served=None if latest is None else details[latest.artifact_id],
                newest=details[newest[name].artifact_id],
                versions=len(by_name[name]),
                kept=sum(states[r.artifact_id] == "kept" for r in by_name[name]),
            )
        )
    return models, len(by_name)


def _latest(refs: Sequence[PushRef], states: Mapping[int, str | None]) -> PushRef | None:
    latest = [r for r in refs if states[r.artifact_id] == "latest"]
    return max(latest, key=_TIME) if latest else None
