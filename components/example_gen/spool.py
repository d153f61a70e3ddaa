"""Where ingested images wait until all are seen: files beside the splits to come.

The split of an image is its hash's, but for the few that small data makes move, and
those are known only at the end.  So each bundle of images writes its examples where
their hashes say, into files of its own that hold them as they will stay.  At the end
the files of the bundles that count take their final names; only where an image moves
are some written anew.

A bundle of Beam's that failed and was tried again leaves files that nobody asks for: they go
with the spool.
"""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from common.errors import RunError
from common.files import sync_directory
from components.example_gen import tfrecords
from components.example_gen.records import Note, Notes, Source
from components.example_gen.splits import SplitPlan, plan_by_hash

_FILE_NAME = "data_tfrecord-{:05d}-of-{:05d}.gz"
"""As TFX's own ExampleGen names them."""


_GATHERED = "gathered"
_FOLDER = ".spool-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A folder that every worker sees; removed when ingestion ends, well or not."""

    path: Path
    plan: SplitPlan
    """Where examples go for now."""

    @classmethod
    def new(cls, folder: Path, source: Source, shares: Mapping[str, float]) -> Spool:
        """Makes an empty one in a folder, for the images of a source."""
        brought = (each.split for each in source.records or source.shards)
        spool = cls(
            path=folder / f"{_FOLDER}{uuid.uuid4().hex}", plan=plan_by_hash(brought, shares)
        )
        spool.path.mkdir(parents=True)
        return spool

    def finish(self, source: Source, bundles: list[str]) -> Gathered:
        """Keeps what is in it for `Gathered.found`, should that be another process."""
        listed = replace(source, records=(), shards=())
        gathered = Gathered(spool=self, source=listed, bundles=bundles)
        (self.path / _GATHERED).write_bytes(pickle.dumps(gathered))
        return gathered

    def notes(self, bundle: str) -> Iterator[Notes]:
        """Yields a closed bundle's notes, in the order they were taken."""
        with open(self.path / f"{bundle}.notes", "rb") as f:
            while f.peek(1):
                yield pickle.load(f)

    def examples(self, bundle: str, split: str) -> Path:
        """Returns the file with a bundle's examples of a split."""
        return self.path / f"{bundle}.{split}.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All images of a source, in a spool."""

    spool: Spool
    source: Source
    """What is known of it besides the images."""
    bundles: list[str]

    @classmethod
    def found(cls, folder: Path) -> Gathered | None:
        """Returns what was gathered in a folder, if it was."""
        for file in folder.glob(f"{_FOLDER}*/{_GATHERED}"):
            gathered: Gathered = pickle.loads(file.read_bytes())
            return gathered
        return None

    def notes(self) -> Iterator[Notes]:
        return chain.from_iterable(map(self.spool.notes, self.bundles))


class Bundle:
    """The files that one bundle of images is written to; another attempt has another name."""

    def __init__(self, spool: Spool) -> None:
        self.name = uuid.uuid4().hex
        self.size = 0
        """Bytes of the examples so far."""
        self._spool = spool
        self._writers: dict[str, tfrecords.Writer] = {}
        self._notes = open(spool.path / f"{self.name}.notes", "wb")  # noqa: SIM115

    def add(self, note: Note, example: bytes) -> None:
        """Writes an image; its note is to follow in `note`, in the same order."""
        split = self._spool.plan.split_of(note.sha256, note.given_split)
        if split not in self._writers:
            self._writers[split] = tfrecords.Writer(self._spool.examples(self.name, split))
        self._writers[split].write(tfrecords.framed(example))
        self.size += len(example)

    def note(self, notes: Notes) -> None:
        pickle.dump(notes, self._notes, pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._notes.close()


def remove_spools(folder: Path) -> None:
    """Removes all spools in a folder."""
    for path in folder.glob(f"{_FOLDER}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Raises RunError where what is done ends for a full disk."""
    try:
        yield
    except Exception as e:
        # Beam keeps a worker's exception only as text.
        if os.strerror(errno.ENOSPC) in str(e):
            raise RunError(
                f"No space left on the disk of {folder}. Free some, or move the pipeline root."
            ) from None
        raise


def settle(spool: Spool, bundles: list[str], plan: SplitPlan, folders: Mapping[str, Path]) -> None:
    """Brings the examples of some bundles to the splits of the final plan.

    What the folders hold of an earlier attempt is removed.

    Args:
      folders: split → its folder, to be filled.
    """
    files: dict[str, list[Path]] = {split: [] for split in folders}
    for bundle in sorted(bundles, key=lambda b: _first_path(spool, b)):
        for split, file in _settled(spool, bundle, plan, folders).items():
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


def _settled(spool: Spool, bundle: str, plan: SplitPlan, splits: Iterable[str]) -> dict[str, Path]:
    """Split → file with a bundle's examples; writes anew those that gain or lose some."""
    if plan == spool.plan:  # as in all but small data
        return {s: f for s in splits if (f := spool.examples(bundle, s)).exists()}
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
    readers = {s: tfrecords.read(spool.examples(bundle, s)) for s in sorted(old)}
    files = {s: spool.path / f"{bundle}.{s}.settled.gz" for s in sorted(new)}
    writers = {s: tfrecords.Writer(f) for s, f in files.items()}
    for source, target in _places(spool, bundle, plan):
        if source in readers:
            writers[target].write(next(readers[source]))
    for writer in writers.values():
        writer.close()
    return files
