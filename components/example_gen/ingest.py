"""Reading, checking and serialising images in Beam.

Works on batches of records, so that Beam's cost per element does not matter.
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
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import apache_beam as beam

from common.errors import DataError
from common.images.errors import BadImage
from common.images.pixels import check_image
from common.images.plain import DEPTH
from common.process.cpus import available_cpus
from components.example_gen import digest
from components.example_gen.records import Note, Notes, Quarantined, Record, check_label
from components.example_gen.spool import Bundle, Spool
from modelstore import raw_example as features

BATCH = 200
"""Records per Beam element."""
_SLICE_BYTES = 1 << 20
"""Of image files that a thread reads in one go; a larger one alone."""

_Outcome = tuple[bytes, Quarantined | tuple[Note, bytes]]
"""A record's digest, and what became of it: a note and a serialised tf.Example."""


def pack(batch: Any) -> bytes:
    """Pickles a batch as one; Beam would pickle each of its objects alone."""
    return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)


class _Ingest(beam.DoFn, abc.ABC):
    """Packed records → names of bundles; the examples and notes are in the spool."""

    def __init__(self, base: bytes, max_pixels: int, spool: Spool, depth: int = DEPTH) -> None:
        self._base = base
        self._limits = max_pixels, depth
        self._spool = spool
        self._ingested = beam.metrics.Metrics.counter("visionline", "images_ingested")
        self._quarantined = beam.metrics.Metrics.counter("visionline", "images_quarantined")

    def start_bundle(self) -> None:
        self._bundle: Bundle | None = None

    def process(self, packed: bytes) -> None:
        if self._bundle is None:
            self._bundle = Bundle(self._spool)
        for notes in self._ingest_batch(pickle.loads(packed), self._bundle):
            self._bundle.note(notes)
            self._ingested.inc(len(notes.images))
            self._quarantined.inc(len(notes.quarantined))

    def finish_bundle(self) -> Iterator[Any]:
        if self._bundle is not None:
            self._bundle.close()
            yield beam.transforms.window.GlobalWindows.windowed_value(self._bundle.name)

    @abc.abstractmethod
    def _ingest_batch(self, records: list[Record], bundle: Bundle) -> Iterator[Notes]:
        """Adds the examples of a batch to the bundle; yields what is known of them."""


class IngestImages(_Ingest):
    """Ingests image files."""

    def setup(self) -> None:
        # Pillow decodes outside the interpreter lock.
        self._threads = available_cpus()
        self._pool = ThreadPoolExecutor(max_workers=self._threads)
        self._longest = BATCH // (2 * self._threads) + 1

    def teardown(self) -> None:
        self._pool.shutdown()

    def _ingest_batch(self, records: list[Record], bundle: Bundle) -> Iterator[Notes]:
        notes = Notes()
        for digest_, outcome in self._outcomes(records):
            notes.digests.append(digest_)
            if isinstance(outcome, Quarantined):
                notes.quarantined.append(outcome)
            else:
                note, example = outcome
                notes.images.append(note)
                bundle.add(note, example)
        yield notes

    def _outcomes(self, records: list[Record]) -> Iterator[_Outcome]:
        """Yields what became of the records, in order; few of them are held at a time."""
        waiting: deque[Future[list[_Outcome]]] = deque()
        for slice_ in self._slices(records):
            waiting.append(self._pool.submit(self._ingest_all, slice_))
            if len(waiting) > self._threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()

    def _slices(self, records: list[Record]) -> Iterator[list[Record]]:
        slice_: list[Record] = []
        total = 0
        for record in records:
            size = digest.size_of(os.path.join(self._base, record.path))
            if slice_ and (total + size > _SLICE_BYTES or len(slice_) >= self._longest):
                yield slice_
                slice_, total = [], 0
            slice_.append(record)
            total += size
        if slice_:
            yield slice_

    def _ingest_all(self, records: list[Record]) -> list[_Outcome]:
        return [self._ingest(record) for record in records]

    def _ingest(self, record: Record) -> _Outcome:
        file = os.path.join(self._base, record.path)
        try:
            data = digest.read_file(file)
        except digest.Unreadable as e:
            sha256 = digest.hash_file(file)
            return digest.record_digest(record, sha256), _quarantine(record, e)
        sha256 = hashlib.sha256(data).hexdigest()
        record_digest = digest.record_digest(record, sha256)
        try:
            return record_digest, example_of(record, data, sha256, *self._limits)
        except BadImage as e:
            return record_digest, _quarantine(record, e)


class IngestTFRecords(_Ingest):
    """Ingests files of raw examples; a record is a file."""

    def _ingest_batch(self, records: list[Record], bundle: Bundle) -> Iterator[Notes]:
        for file in records:
            path = os.path.join(self._base, file.path)
            yield Notes(digests=[digest.record_digest(file, digest.hash_file(path))])
            examples = enumerate(_read_tfrecords(path))
            try:
                while (notes := self._some(file, islice(examples, BATCH), bundle)) is not None:
                    yield notes
            except DataError as e:
                yield Notes(errors=[str(e)])

    def _some(
        self, file: Record, examples: Iterable[tuple[int, bytes]], bundle: Bundle
    ) -> Notes | None:
        """Takes notes of some examples of a file; None: there are no more."""
        notes = None
        for index, payload in examples:
            notes = notes or Notes()
            record, data = _record_of(file, index, payload)
            notes.extra_columns.update(name for name, _ in record.extra)
            sha256 = hashlib.sha256(data).hexdigest()
            try:
                note, example = example_of(record, data, sha256, *self._limits)
            except BadImage as e:
                notes.quarantined.append(_quarantine(record, e))
                continue
            notes.images.append(note)
            bundle.add(note, example)
        return notes


def _quarantine(record: Record, e: BadImage) -> Quarantined:
    return Quarantined(path=record.path, label=record.label, reason=e.reason, detail=e.detail)


def example_of(
    record: Record, data: bytes, sha256: str, max_pixels: int, depth: int = DEPTH
) -> tuple[Note, bytes]:
    """Makes a note and a serialised raw example of an image; raises BadImage."""
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
        bits=image.bits,
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


def _read_tfrecords(path: bytes) -> Iterator[bytes]:
    """Yields the payloads of a TFRecord file; raises DataError where it is broken."""
    import tensorflow as tf

    name = os.fsdecode(path)
    compression = "GZIP" if name.endswith(".gz") else ""
    try:
        yield from tf.data.TFRecordDataset(name, compression).as_numpy_iterator()
    except tf.errors.OpError as e:
        raise DataError(f"{name}: the TFRecord file is broken: {e.message}") from None


def _record_of(file: Record, index: int, payload: bytes) -> tuple[Record, bytes]:
    """Reads a raw example's record and encoded image; raises DataError."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    where = f"{os.fsdecode(file.path)}, example {index}"
    try:
        values = example_pb2.Example.FromString(payload).features.feature
    except DecodeError:
        raise DataError(f"{where}: expected a tf.Example, got something else.") from None
    for name in (features.ENCODED, features.LABEL):
        if name not in values or len(values[name].bytes_list.value) != 1:
            raise DataError(
                f"{where}: expected one bytes value for {name!r}, found the features "
                f"{', '.join(sorted(values))}."
            )
    paths = values[features.PATH].bytes_list.value if features.PATH in values else []
    extra = [
        (name, values[name].bytes_list.value[0].decode("utf-8", "replace"))
        for name in sorted(set(values) - features.RESERVED)
        if not name.startswith(features.TAKEN) and len(values[name].bytes_list.value) == 1
    ]
    record = Record(
        path=paths[0] if paths else file.path + b"#%d" % index,
        label=check_label(values[features.LABEL].bytes_list.value[0], where),
        split=file.split,
        extra=tuple(extra),
    )
    return record, values[features.ENCODED].bytes_list.value[0]
