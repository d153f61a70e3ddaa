"""TFRecord files of `tf.Example`s: raw examples, TFDS's, and others with features of their own.

Whatever a file's first example shows holds for the whole file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.errors import DataError
from common.images.errors import BadImage
from common.images.signatures import begins_as_image
from components.example_gen.class_names import class_name
from components.example_gen.config import Columns
from components.example_gen.records import Record, Shard
from components.example_gen.shards import choice
from components.example_gen.shards.contract import Image
from modelstore import raw_example as features


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Leaves it to the reader, which loads TensorFlow."""


def read(file: str, shard: Shard, columns: Columns) -> Iterator[Image]:
    """Yields the images of a file; raises DataError."""
    layout: _Layout | None = None
    for index, payload in enumerate(_payloads(file)):
        where = f"{file}, example {index}"
        values = _values(payload, where)
        if layout is None:
            layout = _layout(values, shard, columns, where)
        yield _image(values, layout, shard, index, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    image: str
    label: str
    split: str | None


def _payloads(file: str) -> Iterator[bytes]:
    import tensorflow as tf

    compression = "GZIP" if ".gz" in os.path.basename(file) else ""
    try:
        yield from tf.data.TFRecordDataset(file, compression).as_numpy_iterator()
    except tf.errors.OpError as e:
        raise DataError(
            f"{file}: the TFRecord file is broken or cut off ({e.message}); fetch or write it "
            "again."
        ) from None


def _values(payload: bytes, where: str) -> dict[str, list[Any]]:
    """Feature → its values."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        feature = example_pb2.Example.FromString(payload).features.feature
    except DecodeError:
        raise DataError(f"{where}: expected a tf.Example, got something else.") from None
    values = {}
    for name in sorted(feature):
        kind = feature[name].WhichOneof("kind")
        values[name] = list(getattr(feature[name], kind).value) if kind else []
    return values


def _layout(values: dict[str, list[Any]], shard: Shard, columns: Columns, where: str) -> _Layout:
    single = {n: v[0] for n, v in values.items() if len(v) == 1}
    texts = {n: v for n, v in single.items() if isinstance(v, bytes)}
    images = [n for n, v in texts.items() if begins_as_image(v)]
    images = images or [n for n in choice.IMAGES if n in texts][:1]
    image = choice.choose_image(images, values, where, columns.image or "")
    found: dict[str, choice.Kind] = {
        n: "text" if n in texts else "named" if shard.names else "number"
        for n, v in single.items()
        if choice.is_label(n) and n != image
    }
    others = [n for n in values if n != image]
    label = choice.choose_label(found, others, where, columns.label or "")
    split = columns.split or (choice.SPLIT if choice.SPLIT in texts else None)
    return _Layout(image=image, label=label, split=split)


def _image(
    values: dict[str, list[Any]], layout: _Layout, shard: Shard, index: int, where: str
) -> Image:
    def one(name: str) -> Any:
        found = values.get(name, [])
        if len(found) > 1:
            raise DataError(f"{where}: expected one value of {name!r}, found {len(found)}.")
        return found[0] if found else None

    path = one(features.PATH)
    split = shard.split
    if layout.split is not None:
        split = choice.split_of((one(layout.split) or b"").decode(errors="replace"), split, where)
    extra = [
        (n, v[0].decode("utf-8", "replace"))
        for n, v in values.items()
        if len(v) == 1
        and isinstance(v[0], bytes)
        and n not in (layout.image, layout.label, layout.split)
        and choice.is_extra(n)
    ]
    record = Record(
        path=path or shard.path + b"#%d" % index,
        label=class_name(one(layout.label), shard.names, where),
        split=split,
        extra=tuple(extra),
    )
    image = one(layout.image)
    if image is not None and not isinstance(image, bytes):
        raise DataError(f"{where}: expected encoded images in {layout.image!r}, got numbers.")
    return record, BadImage("missing", "the example has no image") if image is None else image
