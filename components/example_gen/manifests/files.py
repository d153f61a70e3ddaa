"""From the paths of a manifest to files; what all of them have in common counts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import takewhile

from common.errors import DataError
from components.example_gen.folders.names import is_hidden
from components.example_gen.manifests.finder import Finder, plain
from components.example_gen.records import show

_MOST_FOLDERS = 64
_DEEPEST = 2
"""Folders below the manifest's that are looked into for images."""
_OF_MANIFESTS = (b"annotations", b"annotation", b"labels", b"metadata", b"manifests", b"csv")
"""Folders whose manifests are of images that lie beside the folder."""
_EXPLAINED = 5
"""Missing files that get an explanation, and files that one names."""
_SAMPLE = 50
"""Paths that are tried to learn where all of them lead."""


@dataclass(frozen=True, slots=True)
class Written:
    """A path as a manifest has it."""

    where: str
    path: bytes


@dataclass(frozen=True, slots=True)
class File:
    """What a path stands for."""

    path: bytes
    """As it is kept: relative where it is below the manifest's folder."""
    hint: str = ""
    """For a file that is missing: where it is listed, and what is there instead."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """How paths that lead nowhere may lead somewhere: with another begin."""

    dropped: bytes
    added: bytes

    def __call__(self, path: bytes) -> bytes | None:
        if not path.startswith(self.dropped) or (self.added and path.startswith(b"/")):
            return None
        return self.added + path[len(self.dropped) :]


def find_files(
    paths: Sequence[Written], finder: Finder, manifest: str
) -> tuple[list[File], list[str]]:
    """Finds the file of each path.

    Returns:
      The files in order, and what a person should know of how they were found.

    Raises:
      DataError: a path is a URL.
    """
    found = [_find(w, finder) for w in paths]
    if not any(found) and len(useful := _useful(paths, finder, manifest)) == 1:
        found = [_shifted(w.path, useful[0], finder) for w in paths]
        notices = [_moved(manifest, paths, found)]
    else:
        notices = list(_respelt(manifest, paths, found))
    missing = [i for i, alike in enumerate(found) if len(alike) != 1]
    # Whoever lists them does so by path, and shows few.
    explained = {*missing[:1], *nsmallest(_EXPLAINED, missing, key=lambda i: paths[i].path)}
    files = []
    for i, (w, alike) in enumerate(zip(paths, found, strict=True)):
        if len(alike) == 1:
            files.append(File(finder.stored(alike[0])))
            continue
        hint = w.where.removeprefix(os.path.join(os.path.dirname(manifest), ""))
        if i in explained or alike:
            hint += f"; {_near(w, alike, finder)}"
        files.append(File(finder.stored(plain(w.path)), hint))
    return files, notices


def _find(written: Written, finder: Finder) -> list[bytes]:
    try:
        return finder.find(written.path)
    except DataError as e:
        raise DataError(f"{written.where}: {e}.") from None


def _shifts(paths: Sequence[Written], finder: Finder) -> list[_Shift]:
    """Returns the shifts that may help: into a folder that is near, and out of folders."""
    folders = [folder + b"/" for folder in _folders(finder.base)]
    own = os.path.basename(finder.base)
    if own.lower() in _OF_MANIFESTS:
        beside = _folders(os.path.dirname(finder.base))
        folders += [b"../"] + [b"../" + f + b"/" for f in beside if f.split(b"/")[0] != own]
    begin = _common_folders([plain([*finder.readings(w.path)][-1]) for w in paths])
    return [_Shift(b"", folder) for folder in folders] + [
        _Shift(b"/".join(begin[:depth]) + b"/", b"") for depth in range(1, len(begin) + 1)
    ]


def _common_folders(paths: Sequence[bytes]) -> list[bytes]:
    """Returns the names that all paths begin with, an empty one before a leading slash."""
    levels = zip(*(p.split(b"/")[:-1] for p in paths), strict=False)
    return [level[0] for level in takewhile(lambda level: len({*level}) == 1, levels)]


def _folders(base: bytes) -> list[bytes]:
    """Returns the folders that are looked into, relative to the base; none if there are many."""
    found: list[bytes] = []
    level = [b""]
    for _ in range(_DEEPEST):
        level = [os.path.join(f, n) for f in level for n in _inside(os.path.join(base, f))]
        found += level
        if len(found) > _MOST_FOLDERS:
            return []
    return found


def _inside(folder: bytes) -> list[bytes]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not is_hidden(e.name) and e.is_dir())
    except OSError:
        return []


def _useful(paths: Sequence[Written], finder: Finder, manifest: str) -> list[_Shift]:
    """Returns the shifts by which any of some paths is found.

    Of several the one counts that leads into the folder that the manifest is named for, as
    train.csv and train_labels.csv are for train/.
    """
    sample = paths[:: max(1, len(paths) // _SAMPLE)]
    useful = [
        shift
        for shift in _shifts(paths, finder)
        if any(_shifted(w.path, shift, finder) for w in sample)
    ]
    words = re.split(r"[\W_]+", os.path.splitext(os.path.basename(manifest))[0].casefold())
    named = [s for s in useful if os.fsdecode(os.path.basename(s.added[:-1])).casefold() in words]
    return named if len(named) == 1 else useful


def _shifted(path: bytes, shift: _Shift, finder: Finder) -> list[bytes]:
    for reading in finder.readings(path):
        moved = shift(plain(reading))
        if moved and (found := finder.find(moved)):
            return found
    return []


def _moved(manifest: str, paths: Sequence[Written], found: Sequence[Sequence[bytes]]) -> str:
    w, file = next((w, f[0]) for w, f in zip(paths, found, strict=True) if f)
    return (
        f"{manifest}: no path leads to a file from where the manifest is; "
        f"{show(w.path)!r} is read as {show(file)}, and the others likewise."
    )


def _respelt(
    manifest: str, paths: Sequence[Written], found: Sequence[Sequence[bytes]]
) -> Iterator[str]:
    otherwise = [
        (w, f[0])
        for w, f in zip(paths, found, strict=True)
        if len(f) == 1 and f[0] != plain(w.path)
    ]
    if otherwise:
        w, file = otherwise[0]
        yield (
            f"{manifest}: {len(otherwise)} paths are written otherwise than their files' names, "
            f"such as {show(w.path)!r} for {show(file)}; they are read as these."
        )


def _near(written: Written, alike: Sequence[bytes], finder: Finder) -> str:
    """Says what there is in the place of a missing file."""
    near = alike or [
        file
        for shift in _shifts([written], finder)
        for file in _shifted(written.path, shift, finder)
    ]
    shown = [show(p) for p in dict.fromkeys(near or finder.with_other_extension(written.path))]
    if len(shown) > 1:
        return f"there are {' and '.join(shown[:_EXPLAINED])}: write the one that is meant"
    if shown:
        return f"there is {shown[0]}: write this path"
    return f"paths start from {show(finder.base)}"
