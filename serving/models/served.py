"""Which versions of a model should be loaded, stay and go: decided here, done elsewhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from common.files import walk_files
from modelstore.labels import Labels
from serving.config import Policy
from serving.models.loaded import LoadedVersion

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
"""As TensorFlow Serving names them."""

Files = tuple[tuple[str, int, int], ...]
"""Path, time of the last change in nanoseconds, and size of each file of a version."""


@dataclass(slots=True, eq=False)
class Slot:
    """One version, from when it is wanted until it is gone."""

    version: int
    state: State = "START"
    error: str = ""
    """Why it cannot be served."""
    unloaded: str = ""
    """Who had it unloaded, where that was asked for."""
    loaded: LoadedVersion | None = None
    requests: int = 0
    """That are using it now."""
    files: Files = ()
    """As they were when it was loaded; one that failed is tried again when they change."""
    held: IO[bytes] | None = None
    """The lock that keeps its files from being removed."""


@dataclass(slots=True, eq=False)
class Served:
    """One model's versions."""

    name: str
    policy: Policy | tuple[int, ...] = "latest"
    slots: dict[int, Slot] = field(default_factory=dict)
    on_disk: list[int] = field(default_factory=list)
    asked: Labels = field(default_factory=Labels)
    """As labels.json has them."""
    labels: Labels = field(default_factory=Labels)
    """As requests find them: one that moves stays until its new version is available."""
    kept_out: set[int] = field(default_factory=set)
    """Versions that were unloaded by request: they stay so until `load`, newer ones do not."""
    kept_out_by: str = ""
    """Who asked for it last, and when."""
    closing: bool = False
    trouble: str = ""
    """Why its folder or labels could not be read the last time."""

    def available(self) -> list[int]:
        return sorted(v for v, s in self.slots.items() if s.state == "AVAILABLE")

    def default(self) -> int | None:
        """Chooses for requests that name neither version nor label, without weights."""
        good = self.available()
        return max(set(good) & self._by_policy(), default=max(good, default=None))

    def wanted(self) -> set[int]:
        """Returns what should be loaded: by the policy, and what has a label."""
        if self.closing:
            return set()
        return (self._by_policy() | self._there(self.asked.versions.values())) - self.kept_out

    def settled(self) -> bool:
        """Returns whether nothing that is wanted is still to be loaded."""
        slots = [self.slots.get(v) for v in self.wanted()]
        return all(s is not None and s.state in ("AVAILABLE", "END") for s in slots)

    def decide(self) -> tuple[list[int], list[int]]:
        """Moves the labels whose versions are available now.

        Returns:
          The versions to load, and the slots' versions to unload.
        """
        good = set(self.available())
        self.labels = self._labels_in_effect(good)
        wanted = self.wanted()
        keep: set[int | None] = set()
        if not self.closing:
            # With what is wanted broken, or on its way, what answers now stays.
            keep = {*wanted, *self.labels.versions.values(), self.default()} - self.kept_out
        start = sorted(wanted - self.slots.keys())
        # What waits to be loaded and is not wanted any more never will be.
        stop = sorted(v for v, s in self.slots.items() if s.state == "START" and v not in wanted)
        return start, stop + sorted(good - keep)

    def end(self, slot: Slot) -> None:
        """Lets a version go: it is forgotten, or kept to say who had it unloaded."""
        slot.state = "END"
        if slot.version in self.kept_out and not self.closing:
            slot.unloaded = self.kept_out_by
        else:
            # Wanted again, it is loaded again.
            del self.slots[slot.version]

    def _by_policy(self) -> set[int]:
        if self.policy == "all":
            return set(self.on_disk)
        if self.policy != "latest":
            return self._there(self.policy)
        newest = set()
        for version in reversed(self.on_disk):
            newest.add(version)
            slot = self.slots.get(version)
            if slot is None or slot.state != "END":
                break
        return newest

    def _there(self, versions: Iterable[int]) -> set[int]:
        """Keeps the named versions that are on the disk, or loaded while they were."""
        return {
            v
            for v in versions
            if v in self.on_disk or (v in self.slots and self.slots[v].state == "AVAILABLE")
        }

    def _labels_in_effect(self, good: set[int]) -> Labels:
        now = self.labels.versions
        versions = {
            label: now[label] if version not in good and now.get(label) in good else version
            for label, version in self.asked.versions.items()
        }
        return Labels(versions=versions, weights=self.asked.weights)


def files_of(directory: Path) -> Files:
    """Returns what tells whether a version's files were changed."""
    files = []
    for path in walk_files(directory):
        with contextlib.suppress(FileNotFoundError):  # being removed
            status = os.lstat(path)
            name = path.relative_to(directory).as_posix()
            files.append((name, status.st_mtime_ns, status.st_size))
    return tuple(files)
