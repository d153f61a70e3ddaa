"""WebDataset shards: tars in which files of one name, but for the ending, are one sample.

The label is in `.cls` (a number or text), in a field of `.json`, or the folder in the name.
A sample's files stand next to each other, so that a shard is read as a stream.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from common.errors import DataError
from common.images.errors import BadImage
from components.example_gen.class_names import class_name
from components.example_gen.config import Columns
from components.example_gen.digest import MAX_FILE_BYTES
from components.example_gen.folders.names import IMAGE_EXTENSIONS, is_hidden, split_named
from components.example_gen.records import Record, Shard, check_label, show
from components.example_gen.shards import choice
from components.example_gen.shards.contract import Image
from components.example_gen.shards.tar import members

_JSON, _CLASS = "json", "cls"
_MOST_LABEL_BYTES = 1 << 20
_SIDECARS = (_JSON, _CLASS, "txt")


@dataclass(slots=True)
class _Sample:
    """The files of one name."""

    key: str
    sizes: dict[str, int] = field(default_factory=dict)
    """By ending, without its first dot."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Those that are no larger than an image and its label may be."""


def is_webdataset(file: str) -> bool:
    """Says whether a tar's first image has its label beside it, or is in no folder."""
    with closing(_samples(file)) as samples:
        for sample in samples:
            if _images(sample):
                is_flat = "/" not in sample.key
                beside = any(ending in sample.sizes for ending in _SIDECARS)
                return bool(_beside(sample, file)) or (is_flat and beside)
    return False


def check(file: str, shard: Shard, columns: Columns) -> None:
    """Reads the first image and its label; raises DataError."""
    with closing(read(file, shard, columns)) as images:
        if next(images, None) is None:
            raise DataError(f"{file}: expected images and their labels in the tar, found none.")


def read(file: str, shard: Shard, columns: Columns) -> Generator[Image]:
    """Yields the images of a tar; raises DataError."""
    for sample in _samples(file):
        where = f"{file}, {sample.key}"
        found = _label(sample, columns, where)
        if not _images(sample):
            # Anything else is a note on the data set, such as README.md.
            if found is not None and (columns.label or sample.sizes.keys() & {_CLASS, _JSON}):
                yield _missing(sample, found, shard, where)
            continue
        if found is None:
            raise DataError(
                f"{where}: the image has no label beside it (.cls, or label in .json) and no "
                "folder in its name; where the label comes later in the tar, pack it sorted by "
                "name (tar --sort=name); where it is in another file, choose that: "
                f"data.columns.label = {_example_label(sample)}."
            )
        yield _image(sample, found, columns, shard, where)


def _samples(file: str) -> Generator[_Sample]:
    sample: _Sample | None = None
    for member, contents in members(file):
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        if contents is None or is_hidden(name.encode("utf-8", "surrogateescape")):
            continue
        stem, _, ending = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        ending = ending.lower()
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
        if ending in sample.sizes:
            raise DataError(
                f"{file}, {key}: two files end in .{ending}; names that are equal up to their "
                "first dot are one sample, so give each image a name of its own."
            )
        sample.sizes[ending] = member.size
        if member.size <= MAX_FILE_BYTES:
            sample.files[ending] = contents.read()
    if sample is not None:
        yield sample


def _images(sample: _Sample) -> list[str]:
    return [
        e
        for e in sample.sizes
        if b"." + e.rpartition(".")[2].encode("utf-8", "replace") in IMAGE_EXTENSIONS
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    """What a sample says of its image."""

    value: Any
    split: str | None = None
    extra: tuple[tuple[str, str], ...] = ()


def _label(sample: _Sample, columns: Columns, where: str) -> _Label | None:
    fields = _fields(sample, where)
    found = _beside(sample, where)
    wanted = columns.label
    folders = sample.key.split("/")[:-1]
    split = fields.get(columns.split or choice.SPLIT)
    if folders and split_named(folders[0]):
        folder = folders.pop(0)
        split = split or folder
    if wanted:
        there = {f"{_JSON}.{n}": v for n, v in fields.items()} | fields
        there |= {e: _line(c, where) for e, c in sample.files.items() if e not in _images(sample)}
        if wanted not in there:
            return None
        found = {wanted: there[wanted]}
    kinds = {n: _kind(v) for n, v in found.items()}
    if len({str(v) for v in found.values()}) > 1:
        choice.choose_label(kinds, kinds, where, "")
    if found:
        name, value = next(iter(found.items()))
        used = {name.removeprefix(f"{_JSON}."), columns.split or choice.SPLIT}
        extra = [
            (n, v if isinstance(v, str) else json.dumps(v))
            for n, v in fields.items()
            if n not in used and choice.is_extra(n) and isinstance(v, str | int | float)
        ]
        return _Label(value=value, split=split, extra=tuple(extra))
    return _Label(value=check_label(folders[0], where), split=split) if folders else None


def _beside(sample: _Sample, where: str) -> dict[str, Any]:
    """Returns what may be the label in the files beside an image."""
    found: dict[str, Any] = {}
    if _CLASS in sample.files:
        found[_CLASS] = _line(sample.files[_CLASS], where)
    fields = _fields(sample, where)
    return found | {f"{_JSON}.{n}": v for n, v in fields.items() if choice.is_label(n)}


def _kind(value: Any) -> choice.Kind:
    is_number = isinstance(value, int | float) or str(value).lstrip("-").isdecimal()
    return "number" if is_number else "text"


def _fields(sample: _Sample, where: str) -> dict[str, Any]:
    if _JSON not in sample.files:
        return {}
    try:
        fields = json.loads(sample.files[_JSON])
    except ValueError as e:
        raise DataError(f"{where}.json: not valid JSON: {e}.") from None
    return fields if isinstance(fields, dict) else {choice.LABELS[0]: fields}


def _line(contents: bytes, where: str) -> str:
    try:
        return contents[:_MOST_LABEL_BYTES].decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise DataError(f"{where}: expected a label in UTF-8, got {contents[:20]!r}.") from None


def _image(sample: _Sample, found: _Label, columns: Columns, shard: Shard, where: str) -> Image:
    ending = choice.choose_image(_images(sample), sample.sizes, where, columns.image or "")
    contents: bytes | BadImage = sample.files.get(ending) or BadImage("empty")
    if sample.sizes[ending] > MAX_FILE_BYTES:
        contents = BadImage("too-large", f"{sample.sizes[ending]} bytes, at most {MAX_FILE_BYTES}")
    return _record(sample, f".{ending}", found, shard, where), contents


def _missing(sample: _Sample, found: _Label, shard: Shard, where: str) -> Image:
    return _record(sample, "", found, shard, where), BadImage("missing", "no image of this name")


def _record(sample: _Sample, ending: str, found: _Label, shard: Shard, where: str) -> Record:
    split = shard.split
    if found.split is not None:
        split = choice.split_of(found.split, split, where)
    name = (sample.key + ending).encode("utf-8", "surrogateescape")
    return Record(
        path=shard.path + b"#" + name,
        label=class_name(found.value, shard.names, show(where)),
        split=split,
        extra=found.extra,
    )


def _example_label(sample: _Sample) -> str:
    others = [e for e in sample.sizes if e not in _images(sample) and e != _JSON]
    return f'"{next(iter(others), "json.NAME")}"'
