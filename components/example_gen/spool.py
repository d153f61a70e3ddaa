"""Where ingested images wait until all are seen: files beside the splits to come.

The split of an image is its hash's, but for the few that small data makes move, and
those are known only at the end.  So each bundle of Beam writes its examples where
their hashes say, into files of its own that hold them as they will stay.  At the end
the files of the bundles that count take their final names; only where an image moves
are some written anew.

A bundle that failed and was tried again leaves files that nobody asks for: they go
with the spool.
"""

from __future__ import annotations

import os
import pickle
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from common.files import sync_directory
from components import tfx_private
from components.example_gen.records import Note, Notes
from components.example_gen.splits import SplitPlan

tfrecord = tfx_private.tfrecords()
_FILE_NAME = "data_tfrecord-{:05d}-of-{:05d}.gz"
"""As TFX's own ExampleGen names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A folder that every worker sees; removed when ingestion ends, well or not."""

    path: Path
    plan: SplitPlan
    """Where examples go for now."""

    def notes(self, bundle: str) -> Iterator[Notes]:
        """Yields a closed bundle's notes, in the order they were taken."""
        with open(self.path / f"{bundle}.notes", "rb") as f:
            while f.peek(1):
                yield pickle.load(f)

    def examples(self, bundle: str, split: str) -> Path:
        """Returns the file with a bundle's examples of a split."""
        return self.path / f"{bundle}.{split}.gz"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Bundle:
    """The files that one bundle of Beam writes; another attempt has another name."""

    def __init__(self, spool: Spool) -> None:
        self.name = uuid.uuid4().hex
        self._spool = spool
        self._writers: dict[str, Any] = {}
        self._notes = open(spool.path / f"{self.name}.notes", "wb")  # noqa: SIM115

    def add(self, note: Note, example: bytes) -> None:
        """Writes an image; its note is to follow in `note`, in the same order."""
        split = self._spool.plan.split_of(note.sha256, note.given_split)
        if split not in self._writers:
            self._writers[split] = _create(self._spool.examples(self.name, split))
        tfrecord.write_record(self._writers[split], example)

    def note(self, notes: Notes) -> None:
        pickle.dump(notes, self._notes, pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        for file in (*self._writers.values(), self._notes):
            file.close()


def settle(spool: Spool, bundles: list[str], plan: SplitPlan, folders: Mapping[str, Path]) -> None:
    """Brings the examples of some bundles to the splits of the final plan.

    What the folders hold of an earlier attempt is removed.

    Args:
      folders: split → its folder, to be filled.
    """
    files: dict[str, list[Path]] = {split: [] for split in folders}
    for bundle in sorted(bundles, key=lambda b: _first_path(spool, b)):
        for split, file in _settled(spool, bundle, plan).items():
            files[split].append(file)
    for split, folder in folders.items():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, file in enumerate(files[split]):
            with open(file, "rb") as f:
                os.fsync(f.fileno())
            os.replace(file, folder / _FILE_NAME.format(number, len(files[split])))
        sync_directory(folder)


def _first_path(spool: Spool, bundle: str) -> bytes:
    """Orders bundles whichever worker was first."""
    return next((n.path for notes in spool.notes(bundle) for n in notes.images), b"")


def _settled(spool: Spool, bundle: str, plan: SplitPlan) -> dict[str, Path]:
    """Split → file with a bundle's examples; writes anew those that gain or lose some."""
    places = set(_places(spool, bundle, plan))
    now, then = {old for old, _ in places}, {new for _, new in places}
    changed = {split for old, new in places if old != new for split in (old, new)}
    files = {split: spool.examples(bundle, split) for split in then - changed}
    if changed:
        files |= _rewrite(spool, bundle, plan, changed & now, changed & then)
    return files


def _places(spool: Spool, bundle: str, plan: SplitPlan) -> Iterator[tuple[str, str]]:
    """Yields of each example of a bundle, in order, the split it is in and that it belongs to."""
    for notes in spool.notes(bundle):
        for n in notes.images:
            was, will_be = (p.split_of(n.sha256, n.given_split) for p in (spool.plan, plan))
            yield was, will_be


def _rewrite(
    spool: Spool, bundle: str, plan: SplitPlan, old: set[str], new: set[str]
) -> dict[str, Path]:
    """Reads the files of the old splits and writes those of the new, keeping the order."""
    readers = {s: FileSystems.open(str(spool.examples(bundle, s))) for s in sorted(old)}
    files = {s: spool.path / f"{bundle}.{s}.settled.gz" for s in sorted(new)}
    writers = {s: _create(f) for s, f in files.items()}
    for source, target in _places(spool, bundle, plan):
        if source in readers:
            tfrecord.write_record(writers[target], tfrecord.read_record(readers[source]))
    for file in (*readers.values(), *writers.values()):
        file.close()
    return files


def _create(path: Path) -> Any:
    return FileSystems.create(str(path), compression_type=CompressionTypes.GZIP)
