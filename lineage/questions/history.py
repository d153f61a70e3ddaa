"""`lineage history`: a model's versions over time."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.graph.pushed import known_pushes, serving_states, versions_of
from lineage.graph.versions import VersionRecord, records
from lineage.store.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The versions of one model, the oldest first."""

    name: str
    versions: tuple[VersionRecord, ...]
    pushed: int
    """How many versions were ever pushed, of which these are the newest."""


def history(reader: Reader, name: str, limit: int | None = None) -> History:
    """The versions that were pushed under a name, in serving or not.

    Args:
      name: or the path of the model's folder in serving.
      limit: only so many, the newest.

    Raises:
      NotFoundError: nothing was pushed under that name.
    """
    refs = sorted(versions_of(known_pushes(reader, name)), key=lambda r: r.artifact_id)
    newest = refs[max(0, len(refs) - limit) :] if limit is not None else refs
    return History(
        name=refs[-1].name, versions=records(reader, newest, serving_states(refs)), pushed=len(refs)
    )
