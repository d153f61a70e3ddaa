"""The encoded images in a dataset's own records: TFRecords of `tf.Example`s, read as bytes.

For datasets that have no index: of other pipelines, or where the index is gone.  Reads
without TensorFlow, whose import takes longer than most answers.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

from components.example_gen.image_index import SHA256_LENGTH, IndexedImage
from lineage.store.structs import parts
from modelstore import raw_example

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
"""How image files begin: JPEG, PNG, GIF, BMP, WebP, TIFF."""
_LONGEST = 2**31
_SPLIT = "Split-"
_SHARD = re.compile(r"-of-(\d+)")
_PATHS = (raw_example.PATH, "image/filename", "image/source_id", "filename")
_LABELS = (raw_example.LABEL, "image/class/text", "image/class/label")


class RecordsError(Exception):
    """The records do not say which images they hold; the message says why."""


def find_in_records(
    examples: Path, splits: Collection[str], count: int | None, wanted: Collection[str]
) -> dict[str, list[IndexedImage]]:
    """Looks for images in every record of a dataset.

    A record that says which file it was made of (`image/sha256`) is taken at its word;
    of others, each value that is an image file is compared.

    Args:
      examples: an Examples artifact's directory.
      splits: that must be there; other `Split-*` folders are read, too.
      count: how many records there must be, where that is known.
      wanted: SHA-256 of image files, hexadecimal.

    Raises:
      RecordsError: a split or file is missing or broken, or a record holds no image
        file, so that what is not found may be there all the same.
    """
    folders = {p.name.removeprefix(_SPLIT): p for p in examples.glob(f"{_SPLIT}*") if p.is_dir()}
    if missing := sorted(set(splits) - folders.keys()):
        raise RecordsError(f"its split {missing[0]!r} is not there")
    images: dict[str, list[IndexedImage]] = {}
    total = 0
    for split, folder in sorted(folders.items()):
        for file in _files(folder):
            for record in _records(file):
                total += 1
                for image in _images(record, split, file):
                    if image.sha256 in wanted:
                        images.setdefault(image.sha256, []).append(image)
    if not total or total != (total if count is None else count):
        raise RecordsError(f"it has {total:,} records; {count or 'some'} were made")
    return images


def _files(folder: Path) -> list[Path]:
    """A split's files; as many as their names say."""
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file())
    except OSError as e:
        raise RecordsError(f"{folder} cannot be read: {e.strerror}") from None
    numbers = {m[1] for f in files if (m := _SHARD.search(f.name))}
    if numbers and sum(map(int, numbers)) != len(files):
        raise RecordsError(f"{folder} has {len(files)} files of {', '.join(sorted(numbers))}")
    return files


def _images(record: bytes, split: str, file: Path) -> Iterator[IndexedImage]:
    try:
        features = bytes_features(record)
    except ValueError:
        raise RecordsError(f"{file} holds other records than tf.Examples") from None

    def first(names: Collection[str]) -> bytes:
        return next((features[n][0] for n in names if features.get(n)), b"")

    own = first((raw_example.SHA256,))
    if len(own) == SHA256_LENGTH:
        digests = [own.decode("ascii", "replace")]
    else:
        values = (v for each in features.values() for v in each if v.startswith(_MAGIC))
        digests = [hashlib.sha256(v).hexdigest() for v in values]
    if not digests:
        raise RecordsError("its records hold no image files, such as decoded pixels")
    label, path = first(_LABELS).decode("utf-8", "backslashreplace"), first(_PATHS)
    yield from (IndexedImage(d, split, label, path) for d in digests)


def _records(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file, compressed or not; checksums are gzip's alone."""
    try:
        with open(file, "rb") as plain:
            is_gzip = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if is_gzip else plain
            while header := stream.read(12):
                (size,) = struct.unpack("<Q", _all(header, 12)[:8])
                if size > _LONGEST:
                    raise ValueError("no TFRecord")
                yield _all(stream.read(size + 4), size + 4)[:size]
    except (OSError, EOFError, ValueError, zlib.error) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise RecordsError(f"{file} cannot be read: {reason}") from None


def _all(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise ValueError("it ends within a record")
    return data


def bytes_features(example: bytes) -> dict[str, list[bytes]]:
    """The features of a serialised `tf.Example` that are bytes, by name.

    Raises:
      ValueError: it is none.
    """
    values_by_name = {}
    for features in _fields(example, 1):
        for entry in _fields(features, 1):
            name = b"".join(_fields(entry, 1)).decode()
            values = [v for feature in _fields(entry, 2) for v in _fields(feature, 1)]
            values_by_name[name] = [value for each in values for value in _fields(each, 1)]
    return {name: values for name, values in values_by_name.items() if values}


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The fields of a number in a protobuf message; other fields are passed over."""
    for number, part in parts(message):
        if number == 0:
            raise ValueError("no protobuf message")
        if number == wanted and isinstance(part, bytes):
            yield part
