"""`lineage gc`, the plan: which artifacts' files nothing kept needs.  Removes nothing.

Only what lies inside the pipeline's root is ever removed, and nothing that shares a
path with what stays.  `lineage.storage.removal` carries a plan out.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import RunError
from lineage.storage.needs import Needs, needs
from lineage.store.places import local_path
from lineage.store.reader import Reader
from lineage.store.workspace import CHECKPOINTS

TRASH = ".visionline-trash"
"""In the root: where a directory is moved before it is deleted."""
Why = Literal["unused", "gone", "unfinished", "withdrawn"]
_REMOVABLE = frozenset({"LIVE", "MARKED_FOR_DELETION", "ABANDONED"})
_BLOCK = 512
"""Bytes; the unit of st_blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcItem:
    """An artifact to remove."""

    artifact_id: int
    type: str
    uri: str
    run_id: str | None
    """The last run that made it or took it from the cache."""
    bytes: int
    """On the disk, freed with it.  Of artifacts at one place, the first has them."""
    why: Why
    """unused: nothing kept needs it; gone: nor are its files there, so its record is
    put right; unfinished: marked as DELETED by an earlier gc that did not get to its
    files; withdrawn: it holds an image that `visionline erase` removes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcPlan:
    root: str
    """The folder that things are removed from."""
    remove: tuple[GcItem, ...]
    bytes: int
    """On the disk, freed by removing them all; with what an earlier gc left half done."""
    kept: Mapping[str, int]
    """Artifacts by reason: pushed, blessed, pinned, running, reused; shared (at, above
    or below the place of one that stays); elsewhere (outside the root, imported, or
    links); other (neither live nor deleted)."""
    trash: int
    """Leftovers: of an earlier gc, and of trainings that did not end (`abandoned`)."""


def plan(reader: Reader, root: Path, keep_runs: int = 3) -> GcPlan:
    """Decides what to remove.

    Args:
      root: the pipeline's root, `artifacts/` of the output folder.

    Raises:
      RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"No artifacts at {root}: no pipeline has written there.")
    root = Path(os.path.realpath(root))
    of_store = needs(reader, keep_runs)
    removable, kept = choose(of_store, root)
    sizes = Sizes()
    items, inside = [], set[str]()
    for path, id_ in sorted((path, id_) for id_, path in removable.items()):
        record = of_store.records[id_]
        is_new = inside.isdisjoint(_upwards(path))
        inside.add(path)
        exists = os.path.lexists(path)
        if record.state == "DELETED" and not exists:
            continue
        item = GcItem(
            artifact_id=record.id,
            type=record.type,
            uri=record.uri,
            run_id=_last_run(of_store, record.id),
            bytes=sizes.of(path) if is_new else 0,
            why="unfinished" if record.state == "DELETED" else "unused" if exists else "gone",
        )
        items.append(item)
    trash = root / TRASH
    left = [str(p) for p in trash.iterdir()] if trash.is_dir() and not trash.is_symlink() else []
    left += map(str, abandoned(root.parent / CHECKPOINTS, keep_runs))
    return GcPlan(
        root=str(root),
        remove=tuple(sorted(items, key=lambda i: i.artifact_id)),
        bytes=sum(i.bytes for i in items) + sum(map(sizes.of, left)),
        kept=kept,
        trash=len(left),
    )


def abandoned(checkpoints: Path, keep: int) -> list[Path]:
    """Returns folders with the checkpoints of trainings that nobody is likely to go on with.

    Args:
      keep: so many of the latest stay.
    """
    found = list(checkpoints.iterdir()) if checkpoints.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime)[: max(0, len(found) - keep)]


def choose(of_store: Needs, root: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Chooses artifacts to remove, with their real paths; how many stay, by reason."""
    places = Places(str(root))
    kept: Counter[str] = Counter()
    removable: dict[int, str] = {}
    staying = {places.real(d) for d in of_store.destinations}
    for id_, record in of_store.records.items():
        place = places.inside(record.uri)
        reason: str
        if id_ in of_store.needed:
            reason = of_store.needed[id_]
        elif record.state == "DELETED" and (place is None or record.external):
            continue
        elif record.external or place is None:
            reason = "elsewhere"
        elif record.state not in _REMOVABLE and record.state != "DELETED":
            reason = "other"
        else:
            removable[id_] = place
            continue
        kept[reason] += 1
        staying |= places.all_of(record.uri)
    while shared := _touching(removable, staying):
        kept["shared"] += sum(of_store.records[i].state != "DELETED" for i in shared)
        staying = {removable.pop(i) for i in shared}
    return removable, dict(kept)


class Sizes:
    """Bytes on the disk that are freed; counts a file when its last name has been seen."""

    def __init__(self) -> None:
        self._links: Counter[tuple[int, int]] = Counter()

    def of(self, path: str) -> int:
        total = 0
        for entry in _walk(path):
            if entry.st_nlink > 1 and not stat.S_ISDIR(entry.st_mode):
                self._links[entry.st_dev, entry.st_ino] += 1
                if self._links[entry.st_dev, entry.st_ino] < entry.st_nlink:
                    continue
            total += entry.st_blocks * _BLOCK
        return total


def _walk(path: str) -> Iterator[os.stat_result]:
    """Looks at a file, or everything in a directory; leaves out what cannot be read."""
    try:
        entry = os.lstat(path)
        yield entry
        names = os.listdir(path) if stat.S_ISDIR(entry.st_mode) else []
    except OSError:
        return
    for name in names:
        yield from _walk(os.path.join(path, name))


class Places:
    """Real paths of URIs; those of directories are looked up once."""

    def __init__(self, root: str) -> None:
        self._root = root + os.sep
        self._parents: dict[str, str] = {}

    def inside(self, uri: str) -> str | None:
        """Returns the path, if it is below the root and neither a link nor reached by a way out."""
        path = local_path(uri)
        if path is None or _climbs(path):
            return None
        real = self._named(path)
        if not real.startswith(self._root) or os.path.islink(real):
            return None
        return None if real.startswith(self._root + TRASH) else real

    def all_of(self, uri: str) -> set[str]:
        """Returns where a URI's files are, by its name and by what that leads to."""
        path = local_path(uri)
        return set() if path is None else {self._named(path), self.real(path)}

    def real(self, path: str) -> str:
        named = self._named(path)
        return os.path.realpath(named) if os.path.islink(named) else named

    def _named(self, path: str) -> str:
        if _climbs(path):
            return os.path.realpath(path)
        parent, name = os.path.split(os.path.normpath(path))
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        return os.path.join(self._parents[parent], name)


def _climbs(path: str) -> bool:
    return ".." in path.split(os.sep)


def _touching(removable: Mapping[int, str], staying: Set[str]) -> list[int]:
    """Returns those that are at, above or below a path that stays."""
    above = {place for path in staying for place in _upwards(path)}
    return [
        id_
        for id_, path in removable.items()
        if path in above or not staying.isdisjoint(_upwards(path))
    ]


def _upwards(path: str) -> Iterator[str]:
    """Yields a path and all folders above it."""
    yield path
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _last_run(of_store: Needs, artifact_id: int) -> str | None:
    makers = sorted(of_store.links.makers.get(artifact_id, ()), reverse=True)
    return next((run.name for e in makers if (run := of_store.runs.get(e))), None)
