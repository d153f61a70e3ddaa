"""The columns of a table: which is the image, which the label, and what a row is.

An image is a struct of `bytes` and `path`, as Hugging Face's `datasets` writes it, or plain
bytes; a label is text, or a number whose name stands in the schema's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from common.errors import DataError
from common.images.errors import BadImage
from common.images.signatures import begins_as_image
from components.example_gen.class_names import class_name
from components.example_gen.config import Columns
from components.example_gen.records import Record, Shard
from components.example_gen.shards import choice
from components.example_gen.shards.contract import Image

BATCH_BYTES = 4 << 20
MOST_ROWS = 256
"""Of a batch, however small they are."""

First = Callable[[list[str]], Iterable[dict[str, Any]]]
"""Columns → the first rows of a file, with these alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file's columns are."""

    image: str
    label: str
    split: str | None
    extra: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Returns the columns that are read."""
        return [c for c in (self.image, self.label, self.split, *self.extra) if c]


def layout_of(schema: pa.Schema, first: First, file: str, shard: Shard, columns: Columns) -> Layout:
    """Decides what a file's columns are; raises DataError."""
    there = dict(zip(schema.names, schema.types, strict=True))
    named = {k: n for k, f in _features(schema).items() if (n := _class_names(f))}
    image = choice.choose_image(_images(first, file, there), there, file, columns.image or "")
    found: dict[str, choice.Kind] = {}
    for name, type_ in there.items():
        if name != image and (name in named or (choice.is_label(name) and _may_be_label(type_))):
            numbered = kinds.is_integer(type_) or kinds.is_floating(type_)
            is_named = name in named or (numbered and bool(shard.names))
            found[name] = "named" if is_named else "number" if numbered else "text"
    others = [n for n in there if n != image]
    label = choice.choose_label(found, others, file, columns.label or "")
    split = columns.split or (choice.SPLIT if choice.SPLIT in there else None)
    if split is not None and split not in there:
        raise DataError(f"{file}: data.columns.split is {split!r}, found {', '.join(there)}.")
    return Layout(
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


def _images(first: First, file: str, there: dict[str, pa.DataType]) -> list[str]:
    """The columns that hold images; where several could, their first values decide."""
    found = [n for n, t in there.items() if _is_binary(t) or _is_image_struct(t)]
    if not found:
        _refuse_references(first, file, there)
    if len(found) > 1:
        values = _values(first, found)
        if pictures := [n for n in found if n in values and begins_as_image(values[n])]:
            return pictures
    return found


def _values(first: First, columns: list[str]) -> dict[str, Any]:
    """The first value of each column that is not null."""
    values: dict[str, Any] = {}
    for row in first(columns):
        for name, value in row.items():
            value = value["bytes"] if isinstance(value, dict) else value
            if value:
                values.setdefault(name, value)
    return values


def _refuse_references(first: First, file: str, there: dict[str, pa.DataType]) -> None:
    """Raises DataError where text says where the images are, and the images are not there."""
    texts = [n for n, t in there.items() if kinds.is_string(t) or kinds.is_large_string(t)]
    for name, value in _values(first, texts).items() if texts else ():
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


def _may_be_label(type_: pa.DataType) -> bool:
    """Says whether a column can be the label; of a list, each row is checked to hold one."""
    return _is_scalar(type_) or (kinds.is_list(type_) and _is_scalar(type_.value_type))


def _is_scalar(type_: pa.DataType) -> bool:
    if kinds.is_dictionary(type_):  # as pandas writes what it calls categories
        type_ = type_.value_type
    tests = (kinds.is_string, kinds.is_large_string, kinds.is_boolean, kinds.is_integer)
    return any(test(type_) for test in tests) or bool(kinds.is_floating(type_))


def images_of(
    batches: Iterable[pa.RecordBatch], layout: Layout, file: str, shard: Shard
) -> Iterator[Image]:
    """Yields the images of a file's rows; raises DataError."""
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            yield _image(row, number, layout, shard, f"{file}, row {number}")
            number += 1


def _image(row: dict[str, Any], number: int, layout: Layout, shard: Shard, where: str) -> Image:
    split = shard.split
    if layout.split is not None:
        split = choice.split_of(row[layout.split], split, where)
    record = Record(
        path=shard.path + b"#%d" % number,
        label=class_name(row[layout.label], layout.names, where),
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
