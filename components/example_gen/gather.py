"""Reading all images of a source into a spool: checked, normalised, written as examples.

In this process, in as many threads as there are CPUs; `ingest` does the same in Beam.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from common.images.plain import DEPTH
from components.example_gen.config import Columns, DataConfig
from components.example_gen.reading import BATCH, Reader, note_of
from components.example_gen.records import Note, Notes, Record, Shard, Source, batches
from components.example_gen.spool import Bundle, Spool
from modelstore import raw_example as features

Piece = list[Record] | Shard
"""What is read in one go: some image files, or one file that holds many."""

_BUNDLE_BYTES = 1 << 30
"""Of the examples of one bundle, so that there are files to read side by side."""


def pieces(source: Source) -> Iterator[Piece]:
    """Yields all that is to be read, image files in an order that does not depend on classes."""
    if source.shards:
        yield from source.shards
        return
    # Written class after class, a file would be useless to whoever streams it.
    count = len(source.records)
    order = array("Q", random.Random(0).sample(range(count), count))
    yield from batches(map(source.records.__getitem__, order), BATCH)


def gather(
    source: Source,
    config: DataConfig,
    spool: Spool,
    note: Callable[[Notes], None] = lambda notes: None,
) -> list[str]:
    """Reads all images of a source; returns the names of the spool's bundles with them.

    Args:
      note: is told what is known of images, as it is written down.
    """
    reader = reader_of(source.base, config.max_pixels, config.depth)
    waiting = pieces(source)
    bundles = []
    try:
        while (piece := next(waiting, None)) is not None:
            with closing(Bundle(spool)) as bundle:
                while piece is not None:
                    for notes in read(reader, piece, source.kind, config.columns, bundle.add):
                        bundle.note(notes)
                        note(notes)
                    piece = next(waiting, None) if bundle.size < _BUNDLE_BYTES else None
            bundles.append(bundle.name)
    finally:
        reader.close()
    return bundles


def reader_of(base: bytes, max_pixels: int, depth: int) -> Reader[bytes]:
    """Makes a reader of images that makes their raw examples; see `Reader`."""
    return Reader(base, partial(example_of, max_pixels=max_pixels, depth=depth))


def read(
    reader: Reader[bytes],
    piece: Piece,
    kind: str,
    columns: Columns,
    take: Callable[[Note, bytes], None],
) -> Iterator[Notes]:
    """Hands over the examples of a piece; yields what is known of them."""
    if isinstance(piece, Shard):
        return reader.shard(piece, kind, columns, take)
    return reader.files(piece, take)


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
