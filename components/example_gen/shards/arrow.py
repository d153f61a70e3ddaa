"""Arrow files, as Hugging Face's `datasets` saves and caches them (`save_to_disk`), and Feather.

Mapped into memory, so that only what is looked at is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from common.errors import DataError
from components.example_gen.config import Columns
from components.example_gen.records import Shard
from components.example_gen.shards import table
from components.example_gen.shards.contract import Image

_FILE = b"ARROW1"
"""Begins and ends Arrow's file format; a stream has other marks."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""Ends a stream; without it, a reader takes the end of the file for its end."""


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Checks the schema and the end of a file; raises DataError."""
    _opened(file, shard, columns)


def read(file: str, shard: Shard, columns: Columns) -> Iterator[Image]:
    """Yields the images of a file, by row; raises DataError."""
    layout, batches = _opened(file, shard, columns)
    rows = (part for batch in batches for part in _parts(batch.select(layout.columns)))
    yield from table.images_of(rows, layout, file, shard)


def _opened(
    file: str, shard: Shard, columns: Columns
) -> tuple[table.Layout, Iterator[pa.RecordBatch]]:
    try:
        source = pa.memory_map(file)
        is_file = source.read(len(_FILE)) == _FILE
        if not is_file:
            source.seek(max(0, source.size() - len(_END)))
            if source.read() != _END:
                raise DataError(_broken(file, "it ends without a stream's end"))
        source.seek(0)
        reader = ipc.open_file(source) if is_file else ipc.open_stream(source)
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(file, str(e))) from None
    batches = _batches(reader, file)
    begin = next(batches, None)

    def first(names: list[str]) -> Iterable[dict[str, Any]]:
        return begin.select(names).slice(0, 4).to_pylist() if begin else []

    layout = table.layout_of(reader.schema, first, file, shard, columns)
    return layout, chain([begin] if begin else [], batches)


def _batches(reader: Any, file: str) -> Iterator[pa.RecordBatch]:
    try:
        if isinstance(reader, ipc.RecordBatchFileReader):
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            yield from reader
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(file, str(e))) from None


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    heaviest = batch.nbytes // max(batch.num_rows, 1)
    rows = min(table.MOST_ROWS, max(1, table.BATCH_BYTES // max(heaviest, 1)))
    return (batch.slice(at, rows) for at in range(0, batch.num_rows, rows))


def _broken(where: str, reason: str) -> str:
    return f"{where}: the Arrow file is cut off or damaged ({reason}); fetch or write it again."
