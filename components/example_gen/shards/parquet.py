"""Parquet files, as Hugging Face's `datasets`, pandas and Spark write them.

A page of each column is in memory at a time, and a batch of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import DataError
from components.example_gen.config import Columns
from components.example_gen.records import Shard
from components.example_gen.shards import table
from components.example_gen.shards.contract import Image

_BUFFER = 1 << 20
"""Of a column: without it, a whole row group is read at a time."""
_FIRST_ROWS = 4


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Checks the footer and the columns; raises DataError."""
    with _opened(file) as parquet:
        _layout(parquet, file, shard, columns)


def read(file: str, shard: Shard, columns: Columns) -> Iterator[Image]:
    """Yields the images of a file, by row; raises DataError."""
    with _opened(file) as parquet:
        layout = _layout(parquet, file, shard, columns)
        batches = _batches(parquet, file, layout.columns, _rows(parquet))
        yield from table.images_of(batches, layout, file, shard)


def _opened(file: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            file, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(file, e)) from None


def _broken(where: str, e: Exception) -> str:
    reason = str(e).splitlines()[0].rstrip(".")
    return f"{where}: the Parquet file is cut off or damaged ({reason}); fetch or write it again."


def _layout(parquet: pq.ParquetFile, file: str, shard: Shard, columns: Columns) -> table.Layout:
    def first(names: list[str]) -> Iterable[dict[str, Any]]:
        batch = next(_batches(parquet, file, names, _FIRST_ROWS), None)
        return batch.to_pylist() if batch else []

    return table.layout_of(parquet.schema_arrow, first, file, shard, columns)


def _rows(parquet: pq.ParquetFile) -> int:
    """Returns how many rows are a batch."""
    meta = parquet.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    heaviest = max((g.total_byte_size // max(g.num_rows, 1) for g in groups), default=0)
    return min(table.MOST_ROWS, max(1, table.BATCH_BYTES // max(heaviest, 1)))


def _batches(
    parquet: pq.ParquetFile, file: str, columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    done = 0
    try:
        for batch in parquet.iter_batches(rows, columns=columns, use_threads=False):
            yield batch
            done += batch.num_rows
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(f"{file}, after row {done}", e)) from None
