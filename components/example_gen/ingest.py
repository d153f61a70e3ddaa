"""Ingesting images in Beam: read, checked, serialised, written.

Works on batches of files, so that Beam's cost per element does not matter.
What is read goes to the bundle's own files at once, since Beam's runners on one
machine keep in memory whatever passes from one step to the next.  Imports no TFX:
worker processes load this module.
"""

from __future__ import annotations

import abc
import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import apache_beam as beam

from common.images.plain import DEPTH
from components.example_gen.config import Columns
from components.example_gen.reading import Reader, note_of
from components.example_gen.records import Note, Notes, Record, Shard
from components.example_gen.spool import Bundle, Spool
from modelstore import raw_example as features


def pack(batch: Any) -> bytes:
    """Pickles a batch as one; Beam would pickle each of its objects alone."""
    return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)


class Ingest(beam.DoFn, abc.ABC):
    """Packed files → names of bundles; the examples and notes are in the spool."""

    def __init__(self, base: bytes, max_pixels: int, spool: Spool, depth: int = DEPTH) -> None:
        self._base = base
        self._max_pixels = max_pixels
        self._depth = depth
        self._spool = spool
        self._ingested = beam.metrics.Metrics.counter("visionline", "images_ingested")
        self._quarantined = beam.metrics.Metrics.counter("visionline", "images_quarantined")

    def setup(self) -> None:
        self._reader = Reader(
            self._base, partial(example_of, max_pixels=self._max_pixels, depth=self._depth)
        )

    def teardown(self) -> None:
        self._reader.close()

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


class IngestImages(Ingest):
    """Ingests image files; records are packed."""

    def _ingest(self, packed: list[Record], bundle: Bundle) -> Iterator[Notes]:
        return self._reader.files(packed, bundle.add)


class IngestShards(Ingest):
    """Ingests files that hold many images each; one is packed."""

    def __init__(
        self,
        base: bytes,
        max_pixels: int,
        spool: Spool,
        depth: int,
        kind: str,
        columns: Columns,
    ) -> None:
        super().__init__(base, max_pixels, spool, depth)
        self._kind = kind
        self._columns = columns

    def _ingest(self, packed: Shard, bundle: Bundle) -> Iterator[Notes]:
        return self._reader.shard(packed, self._kind, self._columns, bundle.add)


def example_of(
    record: Record, data: bytes, sha256: str, max_pixels: int, depth: int = DEPTH
) -> tuple[Note, bytes]:
    """Makes a note and a serialised raw example of an image; raises BadImage."""
    note, image = note_of(record, data, sha256, max_pixels, depth)
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
