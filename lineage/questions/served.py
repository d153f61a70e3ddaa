"""`lineage served`: what is in serving now."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.graph.pushed import known_pushes, pushes, serving_states, versions_of
from lineage.graph.versions import VersionRecord, records
from lineage.store.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedList:
    """Pushed versions, by name; within a name the newest first."""

    versions: tuple[VersionRecord, ...]
    pushed: int
    """How many versions were ever pushed, in serving or not."""
    found: int
    """How many there are; more than `versions` where there was a limit."""


def served(
    reader: Reader, name: str | None = None, *, removed: bool = False, limit: int | None = None
) -> ServedList:
    """The versions that are in their serving folders now, or may be: not all are seen from here.

    Args:
      name: only this model; a name, or the path of its folder in serving.
      removed: those that are no longer there, too.
      limit: only so many, those pushed last.

    Raises:
      NotFoundError: nothing was pushed under that name.
    """
    refs = versions_of(pushes(reader) if name is None else known_pushes(reader, name))
    states = serving_states(refs)
    wanted = [r for r in refs if removed or states[r.artifact_id] != "removed"]
    newest = sorted(wanted, key=lambda r: -r.artifact_id)[:limit]
    newest.sort(key=lambda r: r.order, reverse=True)
    newest.sort(key=lambda r: (r.name, r.folder))
    return ServedList(versions=records(reader, newest, states), pushed=len(refs), found=len(wanted))
