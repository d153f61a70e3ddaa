"""`lineage rollback-candidates`: which older versions could serve instead.

What a rollback takes and refuses is decided in one place, `modelstore.rollback`; the
store adds what is known of each version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError, NotFoundError
from lineage.graph.pushed import PushRef, known_pushes, latest, serving_states, versions_of
from lineage.graph.versions import VersionRecord, records
from lineage.store.reader import Reader
from modelstore.artifact import ModelCard
from modelstore.rollback import Choice, choices, taken_by_default
from modelstore.versions import list_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version other than the one that is served now."""

    version: VersionRecord
    usable: bool
    """`visionline rollback --to` takes it."""
    why_not: tuple[str, ...]
    """Why it is not usable."""
    cautions: tuple[str, ...]
    """What speaks against one that is usable: was rolled back from, not blessed …"""
    headline_difference: float | None
    """Its headline metric less that of the version served now; each as it was judged then."""
    classes_added: tuple[str, ...] | None
    """Classes that it knows and the version served now does not; None: not known."""
    classes_missing: tuple[str, ...] | None
    """Classes that the version served now knows and this one does not; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    name: str
    folder: str
    """The model's folder in serving."""
    served: int | None
    """The newest version in it, which is the one served; None: the folder has none."""
    current: VersionRecord | None
    """Its record; None where another store has it."""
    candidates: tuple[Candidate, ...]
    """Usable or not, the newest first."""
    pushed: int
    """How many other versions were ever pushed."""
    strangers: tuple[int, ...]
    """Versions in the folder that this store did not push."""
    taken: int | None
    """What `visionline rollback NAME` takes; it may be a stranger."""


def rollback_candidates(reader: Reader, name: str, limit: int | None = None) -> Rollback:
    """The versions of a model that could be served instead of the current one.

    Reads every file of those that are on the disk, to check them.

    Args:
      name: or the path of the model's folder in serving.
      limit: only so many, the newest.

    Raises:
      NotFoundError: nothing was pushed under that name, or into more than one folder
        that is still there.
    """
    pushed = known_pushes(reader, name)
    folder = _folder(name, pushed)
    refs = [r for r in pushed if r.folder == folder]
    states = serving_states(refs)
    versions = sorted(versions_of(refs), key=lambda r: r.order, reverse=True)
    there = list_versions(Path(folder))
    served = there[-1] if there else None
    now = [r for r in versions if states[r.artifact_id] == "latest"]
    others = [r for r in versions if r not in now]
    wanted = others[:limit] if limit is not None else others
    own = records(reader, [*now, *wanted], states)
    current = own[0] if now else None
    classes = None if served is None else _classes(Path(folder) / str(served))
    older = {str(c.version): c for c in choices(Path(folder))}
    taken = taken_by_default(older.values())
    return Rollback(
        name=versions[0].name,
        folder=folder,
        served=served,
        current=current,
        candidates=tuple(
            _candidate(v, older.get(str(v.version)), current, classes) for v in own[len(now) :]
        ),
        pushed=len(others),
        strangers=tuple(v for v in there if str(v) not in {str(r.version) for r in refs}),
        taken=taken.version if taken else None,
    )


def _folder(name: str, refs: list[PushRef]) -> str:
    there = sorted({r.folder for r in refs if list_versions(Path(r.folder))})
    if len(there) > 1:
        raise NotFoundError(
            f"{name} is in more than one serving folder: {', '.join(there)}. Name one of them "
            "instead."
        )
    return there[0] if there else latest(refs).folder


def _candidate(
    version: VersionRecord,
    choice: Choice | None,
    current: VersionRecord | None,
    classes: frozenset[str] | None,
) -> Candidate:
    own, cautions = None, list[str]()
    if version.serving == "removed" or (choice is None and version.serving is not None):
        why_not: tuple[str, ...] = ("removed from the serving folder",)
    elif choice is None:
        why_not = ("its folder cannot be seen from here",)
    else:
        why_not, cautions = choice.why_refused, list(choice.why_only_named)
        own = _classes(Path(version.destination))
    if version.blessed is None:
        cautions.append("whether it was blessed is not recorded")
    elif not version.blessed:
        cautions.append("not blessed")
    own_value = version.headline_value
    current_value = current.headline_value if current else None
    difference = None
    if own_value is not None and current_value is not None:
        difference = own_value - current_value
    return Candidate(
        version=version,
        usable=not why_not,
        why_not=why_not,
        cautions=tuple(cautions),
        headline_difference=difference,
        classes_added=_beyond(own, classes),
        classes_missing=_beyond(classes, own),
    )


def _beyond(a: frozenset[str] | None, b: frozenset[str] | None) -> tuple[str, ...] | None:
    """What is in `a` and not in `b`."""
    return None if a is None or b is None else tuple(sorted(a - b))


def _classes(version_dir: Path) -> frozenset[str] | None:
    try:
        return frozenset(ModelCard.read(version_dir).class_names)
    except (DataError, OSError):
        return None
