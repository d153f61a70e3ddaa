"""Notes of all images in parts, so that what is said of all needs little memory.

The parts are made by the images' content: copies are in one part, and what is sorted by
SHA-256 is one part after another.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from components.example_gen.records import Note

_DIGITS = 2
"""Of the SHA-256 that make a part: 256 parts, of ten million images some 40,000 each."""
_HELD = 1 << 14
"""Notes that are held in memory before they are written."""


class Notebook:
    """Notes of images, taken in any order; all are taken before any is read."""

    def __init__(self, scratch: Path | None = None) -> None:
        """Makes an empty one, with a folder of its own in `scratch` once it has grown."""
        self._scratch = scratch
        self._folder: Path | None = None
        self._parts: dict[str, list[Note]] = {}
        self._held = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, notes: list[Note]) -> None:
        for note in notes:
            self._parts.setdefault(note.sha256[:_DIGITS], []).append(note)
        self._count += len(notes)
        self._held += len(notes)
        if self._held > _HELD:
            self._write()

    def parts(self) -> Iterator[list[Note]]:
        """Yields the notes in the order of the beginnings of their SHA-256."""
        for name in sorted(self._parts):
            yield [*self._written(name), *self._parts[name]]

    def _write(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=".notes-", dir=self._scratch))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for name, notes in self._parts.items():
            with open(self._folder / name, "ab") as file:
                pickle.dump([*map(tuple, notes)], file, pickle.HIGHEST_PROTOCOL)
            notes.clear()
        self._held = 0

    def _written(self, name: str) -> Iterator[Note]:
        if self._folder is not None and (path := self._folder / name).exists():
            with open(path, "rb") as file:
                while file.peek(1):
                    yield from map(Note._make, pickle.load(file))
