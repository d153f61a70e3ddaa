"""Ingesting images in Beam, where its options say so; without them `gather` does.

Works on batches of files, so that Beam's cost per element does not matter.
What is read goes to the bundle's own files at once, since Beam's runners on one
machine keep in memory whatever passes from one step to the next.  Imports no TFX:
worker processes load this module.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from common import files
from common.images.plain import DEPTH
from components.example_gen.config import Columns, DataConfig
from components.example_gen.gather import Piece, pieces, read, reader_of
from components.example_gen.records import Source
from components.example_gen.spool import Bundle, Spool

_BUNDLES = "bundles.json"


def ingest(pipeline: beam.Pipeline, source: Source, config: DataConfig, spool: Spool) -> list[str]:
    """Runs a pipeline that reads all images; returns the names of the spool's bundles with them.

    No image may pass from one step to another: runners on one machine keep in memory
    what does, until the pipeline ends.
    """
    step = Ingest(source.base, config.max_pixels, spool, config.depth, source.kind, config.columns)
    with pipeline:
        _ = (
            pipeline
            | "List" >> beam.Create(list(map(pack, pieces(source))), reshuffle=False)
            | "Distribute" >> beam.Reshuffle()
            | "Ingest" >> beam.ParDo(step)
            | "AllBundles" >> beam.combiners.ToList()
            | "Write" >> beam.Map(_write_bundles, spool.path)
        )
    bundles: list[str] = json.loads((spool.path / _BUNDLES).read_bytes())
    return bundles


def _write_bundles(names: list[str], folder: Path) -> None:
    """Writes down which bundles count; an attempt that failed has others."""
    files.write_json(folder / _BUNDLES, sorted(names))


def pack(piece: Piece) -> bytes:
    """Pickles a piece as one; Beam would pickle each of its objects alone."""
    return pickle.dumps(piece, pickle.HIGHEST_PROTOCOL)


class Ingest(beam.DoFn):
    """Packed pieces → names of bundles; the examples and notes are in the spool."""

    def __init__(
        self,
        base: bytes,
        max_pixels: int,
        spool: Spool,
        depth: int = DEPTH,
        kind: str = "folder",
        columns: Columns = Columns(),  # noqa: B008
    ) -> None:
        self._reading = base, max_pixels, depth
        self._spool = spool
        self._of_shards = kind, columns
        self._ingested = beam.metrics.Metrics.counter("visionline", "images_ingested")
        self._quarantined = beam.metrics.Metrics.counter("visionline", "images_quarantined")

    def setup(self) -> None:
        self._reader = reader_of(*self._reading)

    def teardown(self) -> None:
        self._reader.close()

    def start_bundle(self) -> None:
        self._bundle: Bundle | None = None

    def process(self, packed: bytes) -> None:
        if self._bundle is None:
            self._bundle = Bundle(self._spool)
        piece = pickle.loads(packed)
        for notes in read(self._reader, piece, *self._of_shards, self._bundle.add):
            self._bundle.note(notes)
            self._ingested.inc(len(notes.images))
            self._quarantined.inc(len(notes.quarantined))

    def finish_bundle(self) -> Iterator[Any]:
        if self._bundle is not None:
            self._bundle.close()
            yield beam.transforms.window.GlobalWindows.windowed_value(self._bundle.name)
