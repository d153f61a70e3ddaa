"""Reading and checking images, whoever asks: ingestion or a look at the data; needs no Beam."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from common.errors import DataError
from common.images.errors import BadImage
from common.images.pixels import CheckedImage, check_image
from common.process.cpus import available_cpus
from components.example_gen import digest, seen
from components.example_gen.config import Columns
from components.example_gen.records import Note, Notes, Quarantined, Record, Shard, batches, show
from components.example_gen.shards.choice import address_error
from components.example_gen.shards.contract import Image
from components.example_gen.shards.formats import reader

BATCH = 200
"""Images of which notes are taken together."""
_SLICE_BYTES = 1 << 20
"""Of images that a thread checks in one go; a larger one alone."""

T = TypeVar("T")
Q = TypeVar("Q")
R = TypeVar("R")


class Reader(Generic[T]):
    """Reads and checks images in as many threads as there are CPUs.

    Of each usable image, in order, something besides its note is made in a thread and taken
    by the caller; few of them are held at a time.

    Args:
      base: the folder that paths start from.
      check: makes both of a record, its encoded image and the SHA-256; raises BadImage.
    """

    def __init__(self, base: bytes, check: Callable[[Record, bytes, str], tuple[Note, T]]) -> None:
        self._base = base
        self._check = check
        # Pillow decodes outside the interpreter lock.
        self._threads = available_cpus()
        self._pool = ThreadPoolExecutor(max_workers=self._threads)
        self._longest = BATCH // (2 * self._threads) + 1

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def files(self, records: list[Record], take: Callable[[Note, T], None]) -> Iterator[Notes]:
        """Reads image files; yields what is known of them."""
        notes = Notes()
        sized = ((r, digest.size_of(self._file(r))) for r in records)
        for read, entry, outcome in self._each(self._read, sized):
            notes.read.append(read)
            notes.seen.append(entry)
            _note(outcome, notes, take)
        yield notes

    def shard(
        self, shard: Shard, kind: str, columns: Columns, take: Callable[[Note, T], None]
    ) -> Iterator[Notes]:
        """Reads a file that holds many images, as a stream; yields what is known of them."""
        file = self._file(shard)
        before = digest.status_of(file)
        images = reader(kind).read(os.fsdecode(file), shard, columns)
        sized = ((i, len(i[1]) if isinstance(i[1], bytes) else 0) for i in images)
        outcomes = self._each(self._look, sized)
        try:
            for batch in batches(outcomes, BATCH):
                notes = Notes()
                for extra_columns, outcome in batch:
                    notes.extra_columns.update(extra_columns)
                    _note(outcome, notes, take)
                yield notes
        except DataError as e:
            yield Notes(errors=[str(e)])
        # Looked at last: whatever was read had been there until now.
        sha256, stamp = digest.hash_file(file)
        if digest.status_of(file) != before:
            yield Notes(errors=[f"{show(file)} changed while it was being read; run again."])
        yield Notes(read=[digest.file_digest(shard, sha256)], seen=[seen.entry(stamp, sha256)])

    def _file(self, listed: Record | Shard) -> bytes:
        return os.path.join(self._base, listed.path)

    def _each(self, function: Callable[[Q], R], items: Iterable[tuple[Q, int]]) -> Iterator[R]:
        """Yields the results for items with their sizes in bytes, in order, few at a time."""
        waiting: deque[Future[list[R]]] = deque()
        for slice_ in self._slices(items):
            waiting.append(self._pool.submit(lambda s: list(map(function, s)), slice_))
            if len(waiting) > self._threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _slices(self, items: Iterable[tuple[Q, int]]) -> Iterator[list[Q]]:
        slice_: list[Q] = []
        total = 0
        for item, size in items:
            if slice_ and (total + size > _SLICE_BYTES or len(slice_) >= self._longest):
                yield slice_
                slice_, total = [], 0
            slice_.append(item)
            total += size
        if slice_:
            yield slice_

    def _read(self, record: Record) -> tuple[bytes, bytes, Quarantined | tuple[Note, T]]:
        """Returns the file's digest, its entry in `Seen`, and what became of it."""
        file = self._file(record)
        try:
            data, stamp = digest.read_file(file)
        except digest.Unreadable as e:
            sha256, stamp = digest.hash_file(file)  # of one that is too large
            read = digest.file_digest(record, sha256)
            return read, seen.entry(stamp, sha256), _quarantine(record, e)
        sha256 = hashlib.sha256(data).hexdigest()
        read = digest.file_digest(record, sha256)
        return read, seen.entry(stamp, sha256), self._checked(record, data, sha256)

    def _look(self, image: Image) -> tuple[list[str], Quarantined | tuple[Note, T]]:
        """Returns the extra columns of an image, and what became of it."""
        record, data = image
        extra_columns = [name for name, _ in record.extra]
        if isinstance(data, bytes) and data.startswith((b"http://", b"https://")):
            raise address_error(show(record.path), data.decode("utf-8", "replace"))
        if isinstance(data, BadImage):
            return extra_columns, _quarantine(record, data)
        return extra_columns, self._checked(record, data, hashlib.sha256(data).hexdigest())

    def _checked(self, record: Record, data: bytes, sha256: str) -> Quarantined | tuple[Note, T]:
        try:
            return self._check(record, data, sha256)
        except BadImage as e:
            return _quarantine(record, e)


def note_of(
    record: Record, data: bytes, sha256: str, max_pixels: int, depth: int
) -> tuple[Note, CheckedImage]:
    """Checks an image and makes a note of it; raises BadImage."""
    image = check_image(data, max_pixels=max_pixels, depth=depth)
    note = Note(
        path=record.path,
        label=record.label,
        given_split=record.split,
        sha256=sha256,
        format=image.format,
        normalised=image.normalised,
        width=image.width,
        height=image.height,
        size=len(data),
        digest=digest.image_digest(record, sha256),
        bits=image.bits,
    )
    return note, image


def _note(
    outcome: Quarantined | tuple[Note, T], notes: Notes, take: Callable[[Note, T], None]
) -> None:
    if isinstance(outcome, Quarantined):
        notes.quarantined.append(outcome)
    else:
        notes.images.append(outcome[0])
        take(*outcome)


def _quarantine(record: Record, e: BadImage) -> Quarantined:
    detail = e.detail or (record.hint if e.reason == "missing" else "")
    return Quarantined(path=record.path, label=record.label, reason=e.reason, detail=detail)
