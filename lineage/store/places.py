"""Where the files of what a store names lie, after their output folder was moved.

A store names artifacts by the paths that they were made at, and never by others: served
versions, exports and other stores know them by these.  An output folder's marker keeps
every place that the folder had while something was made in it (`lineage.store.workspace`), and
what was made at any of them is looked for where the folder is now.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.record.artifacts import Pushed
from common.record.record import name_of, names_of
from common.record.steps import Push, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Of one output folder; the default: paths are what they say."""

    root: str = ""
    """Where the folder is now, absolute."""
    roots: tuple[str, ...] = ()
    """Where it has been, the newest first."""
    serving: Mapping[str, str] = field(default_factory=dict)
    """Where serving folders are now, by where they were, as `visionline relocate` was told."""

    @property
    def moved(self) -> bool:
        return any(r != self.root for r in self.roots) or bool(self.serving)

    def here(self, recorded: str) -> str:
        """Says where something is now that is recorded with a path; leaves other text as it is."""
        if not self.moved or not recorded.startswith("/"):
            return recorded
        for old, new in self.serving.items():
            if _is_inside(recorded, old):
                return new + recorded.removeprefix(old)
        # One may lie in another: the nearest is meant.
        for old in sorted({self.root, *self.roots}, key=len, reverse=True):
            if _is_inside(recorded, old):
                return self.root + recorded.removeprefix(old)
        return recorded

    def here_served(self, recorded: str) -> str:
        """Says the same of a pushed version, whose folder may have been moved along beside ours."""
        place = self.here(recorded)
        if place != recorded or not self.moved or not recorded.startswith("/"):
            return place
        for old in self.roots:
            beside = moved_along(recorded, old, self.root)
            if beside is not None and os.path.isdir(os.path.dirname(beside)):
                return beside
        return recorded

    def names(self, place: str) -> Iterator[str]:
        """Yields what something at a place may be recorded as, the place itself first."""
        yield place
        for old, new in (*((old, self.root) for old in self.roots), *self.serving.items()):
            if self.moved and old != new and _is_inside(place, new):
                yield old + place.removeprefix(new)

    def first_name(self, place: str) -> str:
        """Writes a path as it would have been while the folder was where it was first."""
        if not self.roots or not place.startswith("/"):
            return place
        first = self.roots[-1]
        if _is_inside(place, self.root):
            return first + place.removeprefix(self.root)
        return moved_along(place, self.root, first) or place

    def from_root(self, place: str) -> str:
        """Writes a path inside the folder as one relative to it."""
        if self.root and _is_inside(place, self.root):
            return "." + place.removeprefix(self.root)
        return place

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns properties, with what is a path as `here` says."""
        return {k: self._value(k, v) for k, v in values.items()} if self.moved else dict(values)

    def _value(self, key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if key == _DIGESTS:
            return self._by_place(value)
        return self.here_served(value) if key in _SERVED else self.here(value)

    def _by_place(self, text: str) -> str:
        """Reads a table by URI."""
        try:
            return json.dumps({self.here(uri): value for uri, value in json.loads(text).items()})
        except (ValueError, AttributeError):
            return text  # somebody else's property of that name


HERE = Places()
_SERVED = frozenset(names_of(Pushed.pushed_destination, Push.destination))
_DIGESTS = name_of(Step.output_digests)


def local_path(uri: str) -> str | None:
    """Returns the absolute path of a URI on this machine; None where it means another place."""
    path = uri.removeprefix("file://")
    return path if path.startswith("/") else None


def root_of(uri: str) -> str | None:
    """Returns the output folder that TFX made an artifact in; None for what it has not made.

    `<root>/artifacts/<node>/<key>/<execution>`.
    """
    path = Path(uri)
    if not path.is_absolute() or len(path.parts) < 6 or path.parts[-4] != "artifacts":
        return None
    return str(path.parents[3]) if path.name.isdecimal() else None


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def moved_along(path: str, root: str, new_root: str) -> str | None:
    """Says where a path is after a folder above it and `root` was moved to above `new_root`.

    None where that is not what happened: what the new root is called from there on differs.
    """
    if not root or root == new_root:
        return None
    above = os.path.commonpath([path, root])
    tail = root.removeprefix(above)
    if above == "/" or not new_root.endswith(tail):
        return None
    return new_root.removesuffix(tail) + path.removeprefix(above)
