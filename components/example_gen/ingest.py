"""Reading, checking and serialising images in Beam.

Works on batches of records, so that Beam's cost per element does not matter.
Imports no TFX: worker processes load this module.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import apache_beam as beam

from components.example_gen import digest
from components.example_gen.records import Quarantined, Record, batches, check_label
from components.example_gen.splits import SplitPlan
from trainers import raw_example as features
from trainers.cpus import available_cpus
from trainers.errors import DataError
from trainers.pixels import BadImage, CheckedImage, check_image

BATCH = 200
"""Records per Beam element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the report keeps of an ingested image."""

    path: bytes
    label: str
    given_split: str | None
    sha256: str
    format: str
    normalised: str | None
    width: int
    height: int
    size: int
    """Bytes of the original file."""


@dataclass(slots=True)
class Notes:
    """What one batch tells the report."""

    digests: list[bytes] = field(default_factory=list)
    images: list[Note] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    extra_columns: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    """Messages that end the run."""


Serialised = tuple[str | None, str, bytes]
"""Given split, content SHA-256, serialised tf.Example."""


def pack(batch: Any) -> bytes:
    """Pickles a batch as one; Beam would pickle each of its objects alone."""
    return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)


def _tagged(notes: Notes) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput("notes", pack(notes))


class IngestImages(beam.DoFn):
    """Packed records → lists of `Serialised`, and packed `Notes` under "notes"."""

    def __init__(self, base: bytes, max_pixels: int) -> None:
        self._base = base
        self._max_pixels = max_pixels
        self._ingested = beam.metrics.Metrics.counter("visionline", "images_ingested")
        self._quarantined = beam.metrics.Metrics.counter("visionline", "images_quarantined")

    def setup(self) -> None:
        # Pillow decodes outside the interpreter lock.
        self._pool = ThreadPoolExecutor(max_workers=available_cpus())

    def teardown(self) -> None:
        self._pool.shutdown()

    def process(self, packed: bytes) -> Iterator[Any]:
        notes, serialised = Notes(), []
        slices = batches(pickle.loads(packed), BATCH // (2 * available_cpus()) + 1)
        for digest_, outcome in chain.from_iterable(self._pool.map(self._ingest_all, slices)):
            notes.digests.append(digest_)
            if isinstance(outcome, Quarantined):
                notes.quarantined.append(outcome)
            else:
                note, example = outcome
                notes.images.append(note)
                serialised.append((note.given_split, note.sha256, example))
        self._ingested.inc(len(notes.images))
        self._quarantined.inc(len(notes.quarantined))
        yield serialised
        yield _tagged(notes)

    def _ingest_all(
        self, records: list[Record]
    ) -> list[tuple[bytes, Quarantined | tuple[Note, bytes]]]:
        return [self._ingest(record) for record in records]

    def _ingest(self, record: Record) -> tuple[bytes, Quarantined | tuple[Note, bytes]]:
        file = os.path.join(self._base, record.path)
        try:
            data = digest.read_file(file)
        except digest.Unreadable as e:
            sha256 = digest.hash_file(file)
            return digest.record_digest(record, sha256), _quarantine(record, e)
        sha256 = hashlib.sha256(data).hexdigest()
        record_digest = digest.record_digest(record, sha256)
        try:
            return record_digest, example_of(record, data, sha256, self._max_pixels)
        except BadImage as e:
            return record_digest, _quarantine(record, e)


class IngestTFRecords(beam.DoFn):
    """Packed records of TFRecord files → the same as IngestImages."""

    def __init__(self, base: bytes, max_pixels: int) -> None:
        self._base = base
        self._max_pixels = max_pixels

    def process(self, packed: bytes) -> Iterator[Any]:
        for file in pickle.loads(packed):
            path = os.path.join(self._base, file.path)
            yield _tagged(Notes(digests=[digest.record_digest(file, digest.hash_file(path))]))
            examples = enumerate(_read_tfrecords(path))
            try:
                while batch := list(islice(examples, BATCH)):
                    yield from self._batch(file, batch)
            except DataError as e:
                yield _tagged(Notes(errors=[str(e)]))

    def _batch(self, file: Record, batch: list[tuple[int, bytes]]) -> Iterator[Any]:
        notes, serialised = Notes(), []
        for index, payload in batch:
            record, data = _record_of(file, index, payload)
            notes.extra_columns.update(name for name, _ in record.extra)
            sha256 = hashlib.sha256(data).hexdigest()
            try:
                note, example = example_of(record, data, sha256, self._max_pixels)
            except BadImage as e:
                notes.quarantined.append(_quarantine(record, e))
                continue
            notes.images.append(note)
            serialised.append((note.given_split, sha256, example))
        yield serialised
        yield _tagged(notes)


def _quarantine(record: Record, e: BadImage | digest.Unreadable) -> Quarantined:
    return Quarantined(path=record.path, label=record.label, reason=e.reason, detail=e.detail)


def example_of(record: Record, data: bytes, sha256: str, max_pixels: int) -> tuple[Note, bytes]:
    """One image as a note and a serialised raw example; raises BadImage."""
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
    )
    return note, _serialise(record, image, note)


def _serialise(record: Record, image: CheckedImage, note: Note) -> bytes:
    return features.serialise(
        encoded=image.encoded,
        format=image.format,
        path=record.path,
        sha256=note.sha256,
        width=image.width,
        height=image.height,
        channels=image.channels,
        size=note.size,
        label=record.label,
        extra={name: value.encode() for name, value in record.extra},
    )


def _read_tfrecords(path: bytes) -> Iterator[bytes]:
    """The payloads of a TFRecord file; raises DataError where it is broken."""
    import tensorflow as tf

    name = os.fsdecode(path)
    compression = "GZIP" if name.endswith(".gz") else ""
    try:
        yield from tf.data.TFRecordDataset(name, compression).as_numpy_iterator()
    except tf.errors.OpError as e:
        raise DataError(f"{name}: the TFRecord file is broken: {e.message}") from None


def _record_of(file: Record, index: int, payload: bytes) -> tuple[Record, bytes]:
    """A raw example's record and encoded image; raises DataError."""
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
    given_path = values[features.PATH].bytes_list.value if features.PATH in values else []
    extra = []
    for name in sorted(set(values) - features.RESERVED):
        if not name.startswith(features.TAKEN) and len(values[name].bytes_list.value) == 1:
            extra.append((name, values[name].bytes_list.value[0].decode("utf-8", "replace")))
    record = Record(
        path=given_path[0] if given_path else file.path + b"#%d" % index,
        label=check_label(values[features.LABEL].bytes_list.value[0], where),
        split=file.split,
        extra=tuple(extra),
    )
    return record, values[features.ENCODED].bytes_list.value[0]


class RouteToSplits(beam.DoFn):
    """Batches of `Serialised` → serialised examples, tagged with their split."""

    def process(self, batch: list[Serialised], plan: SplitPlan) -> Iterator[Any]:
        for given, sha256, example in batch:
            yield beam.pvalue.TaggedOutput(plan.split_of(sha256, given), example)
