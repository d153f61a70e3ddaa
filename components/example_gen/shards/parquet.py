"""Parquet files, as Hugging Face's `datasets` and others write them.

An image is a struct of `bytes` and `path`, or plain bytes; a label is text, or a number whose
name stands in the schema's metadata.  A batch of rows is read at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from common.errors import DataError
from common.images.errors import BadImage
from common.images.signatures import begins_as_image
from components.example_gen.config import Columns
from components.example_gen.records import Record, Shard
from components.example_gen.shards import choice
from components.example_gen.shards.contract import Image

_BATCH_BYTES = 4 << 20
_MOST_ROWS = 256
_BUFFER = 1 << 20
"""Of a column: without it, a whole row group is read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What a file's columns are."""

    image: str
    label: str
    split: str | None
    extra: tuple[str, ...]
    names: tuple[str, ...]


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Checks the footer and the columns; raises DataError."""
    with _opened(file) as parquet:
        _layout(parquet, file, shard, columns)


def read(file: str, shard: Shard, columns: Columns) -> Iterator[Image]:
    """Yields the images of a file, by row; raises DataError."""
    with _opened(file) as parquet:
        layout = _layout(parquet, file, shard, columns)
        number = 0
        for batch in _batches(parquet, file, layout):
            for row in batch.to_pylist():
                yield _image(row, number, layout, shard, f"{file}, row {number}")
                number += 1


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


def _batches(parquet: pq.ParquetFile, file: str, layout: _Layout) -> Iterator[pa.RecordBatch]:
    wanted = [c for c in (layout.image, layout.label, layout.split, *layout.extra) if c]
    meta = parquet.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    heaviest = max((g.total_byte_size / max(g.num_rows, 1) for g in groups), default=1)
    rows = int(min(_MOST_ROWS, max(1, _BATCH_BYTES / max(heaviest, 1))))
    done = 0
    try:
        for batch in parquet.iter_batches(rows, columns=wanted, use_threads=False):
            yield batch
            done += batch.num_rows
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(f"{file}, after row {done}", e)) from None


def _layout(parquet: pq.ParquetFile, file: str, shard: Shard, columns: Columns) -> _Layout:
    schema = parquet.schema_arrow
    there = dict(zip(schema.names, schema.types, strict=True))
    named = {k: n for k, f in _features(schema).items() if (n := _class_names(f))}
    image = choice.choose_image(_images(parquet, file, there), there, file, columns.image or "")
    found: dict[str, choice.Kind] = {}
    for name, type_ in there.items():
        if (name in choice.LABELS or name in named) and name != image and _is_scalar(type_):
            numbered = kinds.is_integer(type_) or kinds.is_floating(type_)
            is_named = name in named or (numbered and bool(shard.names))
            found[name] = "named" if is_named else "number" if numbered else "text"
    label = choice.choose_label(found, there, file, columns.label or "")
    split = columns.split or (choice.SPLIT if choice.SPLIT in there else None)
    if split is not None and split not in there:
        raise DataError(f"{file}: data.columns.split is {split!r}, found {', '.join(there)}.")
    return _Layout(
        image=image,
        label=label,
        split=split,
        extra=tuple(
            n
            for n, t in there.items()
            if n not in (image, label, split) and choice.is_extra(n) and _is_scalar(t)
        ),
        names=shard.names or named.get(label, ()),
    )


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What Hugging Face's library writes down of the columns."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(feature: Any) -> tuple[str, ...]:
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _images(parquet: pq.ParquetFile, file: str, there: dict[str, pa.DataType]) -> list[str]:
    """The columns that hold images; where several could, the first that there are decide."""
    found = [n for n, t in there.items() if _is_binary(t) or _is_image_struct(t)]
    if not found:
        _refuse_references(parquet, file, there)
    if len(found) > 1:
        first = _first_values(parquet, file, found)
        if pictures := [n for n in found if n in first and begins_as_image(first[n])]:
            return pictures
    return found


def _first_values(parquet: pq.ParquetFile, file: str, columns: list[str]) -> dict[str, Any]:
    """The first value of each column that is not null, of those at the start of a file."""
    first: dict[str, Any] = {}
    try:
        batch = next(parquet.iter_batches(_FIRST_ROWS, columns=columns, use_threads=False), None)
    except (pa.ArrowException, OSError) as e:
        raise DataError(_broken(file, e)) from None
    for row in batch.to_pylist() if batch else []:
        for name, value in row.items():
            value = value["bytes"] if isinstance(value, dict) else value
            if value:
                first.setdefault(name, value)
    return first


_FIRST_ROWS = 4


def _refuse_references(parquet: pq.ParquetFile, file: str, there: dict[str, pa.DataType]) -> None:
    """Raises DataError where text says where the images are, and the images are not there."""
    texts = [n for n, t in there.items() if kinds.is_string(t) or kinds.is_large_string(t)]
    for name, value in _first_values(parquet, file, texts).items() if texts else ():
        if value.startswith(("http://", "https://", "s3://", "gs://")):
            raise choice.address_error(f"{file}, column {name}", value)


def _is_binary(type_: pa.DataType) -> bool:
    return bool(kinds.is_binary(type_) or kinds.is_large_binary(type_))


def _is_image_struct(type_: pa.DataType) -> bool:
    return bool(
        kinds.is_struct(type_)
        and type_.get_field_index("bytes") >= 0
        and (_is_binary(type_.field("bytes").type) or kinds.is_null(type_.field("bytes").type))
    )


def _is_scalar(type_: pa.DataType) -> bool:
    if kinds.is_dictionary(type_):  # as pandas writes what it calls categories
        type_ = type_.value_type
    tests = (kinds.is_string, kinds.is_large_string, kinds.is_boolean, kinds.is_integer)
    return any(test(type_) for test in tests) or bool(kinds.is_floating(type_))


def _image(row: dict[str, Any], number: int, layout: _Layout, shard: Shard, where: str) -> Image:
    split = shard.split
    if layout.split is not None:
        split = choice.split_of(row[layout.split], split, where)
    record = Record(
        path=shard.path + b"#%d" % number,
        label=choice.class_name(row[layout.label], layout.names, where),
        split=split,
        extra=tuple((n, _text(row[n])) for n in layout.extra if row[n] is not None),
    )
    return record, _encoded(row[layout.image], where)


def _encoded(value: Any, where: str) -> bytes | BadImage:
    path = None
    if isinstance(value, dict):
        value, path = value["bytes"], value.get("path")
    if value is None and path and "://" in path:
        raise choice.address_error(where, path)
    if value is None and path:
        raise DataError(
            f"{where}: expected an encoded image, got only its path ({path}); write the files "
            "with the images in them (`datasets` does so in push_to_hub), or list the images "
            "in a manifest."
        )
    if isinstance(value, str):
        raise DataError(f"{where}: expected an encoded image, got the text {value[:60]!r}.")
    return BadImage("missing", "the image is null") if value is None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
