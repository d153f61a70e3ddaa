"""Reading, checking and serialising images in Beam.

Works on batches of files, so that Beam's cost per element does not matter.
What is read goes to the bundle's own files at once, since Beam's runners on one
machine keep in memory whatever passes from one step to the next.  Imports no TFX:
worker processes load this module.
"""

from __future__ import annotations

import abc
import hashlib
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import apache_beam as beam

from common.errors import DataError
from common.images.errors import BadImage
from common.images.pixels import check_image
from common.process.cpus import available_cpus
from components.example_gen import digest
from components.example_gen.config import Columns
from components.example_gen.records import Note, Notes, Quarantined, Record, Shard, batches, show
from components.example_gen.shards.choice import address_error
from components.example_gen.shards.contract import Image
from components.example_gen.shards.formats import reader
from components.example_gen.spool import Bundle, Spool
from modelstore import raw_example as features

BATCH = 200
"""Image files per Beam element."""
_SLICE_BYTES = 1 << 20
"""Of image files that a thread reads in one go; a larger one alone."""

_Outcome = Quarantined | tuple[Note, bytes]
"""What became of an image: a note and a serialised tf.Example."""
T = TypeVar("T")
R = TypeVar("R")


def pack(batch: Any) -> bytes:
    """Pickles a batch as one; Beam would pickle each of its objects alone."""
    return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)


class Ingest(beam.DoFn, abc.ABC):
    """Packed files → names of bundles; the examples and notes are in the spool."""

    def __init__(self, base: bytes, max_pixels: int, spool: Spool) -> None:
        self._base = base
        self._max_pixels = max_pixels
        self._spool = spool
        self._ingested = beam.metrics.Metrics.counter("visionline", "images_ingested")
        self._quarantined = beam.metrics.Metrics.counter("visionline", "images_quarantined")

    def setup(self) -> None:
        # Pillow decodes outside the interpreter lock.
        self._threads = available_cpus()
        self._pool = ThreadPoolExecutor(max_workers=self._threads)
        self._longest = BATCH // (2 * self._threads) + 1

    def teardown(self) -> None:
        self._pool.shutdown()

    def start_bundle(self) -> None:
        self._bundle: Bundle | None = None

    def process(self, packed: bytes) -> None:
        if self._bundle is None:
            self._bundle = Bundle(self._spool)
        for notes in self._ingest(pickle.loads(packed), self._bundle):
            self._bundle.note(notes)
            self._ingested.inc(len(notes.images))
            self._quarantined.inc(len(notes.quarantined))

    def finish_bundle(self) -> Iterator[Any]:
        if self._bundle is not None:
            self._bundle.close()
            yield beam.transforms.window.GlobalWindows.windowed_value(self._bundle.name)

    @abc.abstractmethod
    def _ingest(self, packed: Any, bundle: Bundle) -> Iterator[Notes]:
        """Adds the examples of what was packed to the bundle; yields what is known of them."""

    def _each(self, function: Callable[[T], R], items: Iterable[tuple[T, int]]) -> Iterator[R]:
        """Yields the results for items with their sizes in bytes, in order, few at a time."""
        waiting: deque[Future[list[R]]] = deque()
        for slice_ in self._slices(items):
            waiting.append(self._pool.submit(lambda s: list(map(function, s)), slice_))
            if len(waiting) > self._threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _slices(self, items: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
        slice_: list[T] = []
        total = 0
        for item, size in items:
            if slice_ and (total + size > _SLICE_BYTES or len(slice_) >= self._longest):
                yield slice_
                slice_, total = [], 0
            slice_.append(item)
            total += size
        if slice_:
            yield slice_

    def _check(self, record: Record, data: bytes) -> _Outcome:
        try:
            return example_of(record, data, hashlib.sha256(data).hexdigest(), self._max_pixels)
        except BadImage as e:
            return _quarantine(record, e)


def _take(outcome: _Outcome, notes: Notes, bundle: Bundle) -> None:
    if isinstance(outcome, Quarantined):
        notes.quarantined.append(outcome)
    else:
        note, example = outcome
        notes.images.append(note)
        bundle.add(note, example)


class IngestImages(Ingest):
    """Ingests image files; records are packed."""

    def _ingest(self, packed: list[Record], bundle: Bundle) -> Iterator[Notes]:
        notes = Notes()
        sized = ((r, digest.size_of(self._file(r))) for r in packed)
        for read, outcome in self._each(self._read, sized):
            notes.read.append(read)
            _take(outcome, notes, bundle)
        yield notes

    def _file(self, record: Record) -> bytes:
        return os.path.join(self._base, record.path)

    def _read(self, record: Record) -> tuple[bytes, _Outcome]:
        """Returns the file's digest, and what became of it."""
        file = self._file(record)
        try:
            data = digest.read_file(file)
        except digest.Unreadable as e:
            return digest.file_digest(record, digest.hash_file(file)), _quarantine(record, e)
        read = digest.file_digest(record, hashlib.sha256(data).hexdigest())
        return read, self._check(record, data)


class IngestShards(Ingest):
    """Ingests files that hold many images each, as streams; one is packed."""

    def __init__(
        self, base: bytes, max_pixels: int, spool: Spool, kind: str, columns: Columns
    ) -> None:
        super().__init__(base, max_pixels, spool)
        self._kind = kind
        self._columns = columns

    def _ingest(self, packed: Shard, bundle: Bundle) -> Iterator[Notes]:
        file = os.path.join(self._base, packed.path)
        images = reader(self._kind).read(os.fsdecode(file), packed, self._columns)
        sized = ((i, len(i[1]) if isinstance(i[1], bytes) else 0) for i in images)
        outcomes = self._each(self._check_image, sized)
        try:
            for batch in batches(outcomes, BATCH):
                notes = Notes()
                for columns, outcome in batch:
                    notes.extra_columns.update(columns)
                    _take(outcome, notes, bundle)
                yield notes
        except DataError as e:
            yield Notes(errors=[str(e)])
        # Looked at last: whatever was read had been there until now.
        yield Notes(read=[digest.file_digest(packed, digest.hash_file(file))])

    def _check_image(self, image: Image) -> tuple[list[str], _Outcome]:
        """Returns the extra columns of an image, and what became of it."""
        record, data = image
        if isinstance(data, bytes) and data.startswith((b"http://", b"https://")):
            raise address_error(show(record.path), data.decode("utf-8", "replace"))
        outcome = (
            _quarantine(record, data) if isinstance(data, BadImage) else self._check(record, data)
        )
        return [name for name, _ in record.extra], outcome


def _quarantine(record: Record, e: BadImage) -> Quarantined:
    detail = e.detail or (record.hint if e.reason == "missing" else "")
    return Quarantined(path=record.path, label=record.label, reason=e.reason, detail=detail)


def example_of(record: Record, data: bytes, sha256: str, max_pixels: int) -> tuple[Note, bytes]:
    """Makes a note and a serialised raw example of an image; raises BadImage."""
    image = check_image(data, max_pixels=max_pixels)
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
    )
    example = features.serialise(
        encoded=image.encoded,
        format=image.format,
        path=record.path,
        sha256=sha256,
        width=image.width,
        height=image.height,
        channels=image.channels,
        size=len(data),
        label=record.label,
        extra={name: value.encode() for name, value in record.extra},
    )
    return note, example
