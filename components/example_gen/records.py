"""What a listing of a data source consists of.

Paths are bytes throughout: a file name need not be UTF-8.
"""

from __future__ import annotations

import os
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar, overload

from common.errors import DataError
from components.example_gen.folders.names import SPLIT_NAMES, split_named

T = TypeVar("T")

MAX_LABEL_BYTES = 255
"""Of a class name in UTF-8: as long as a folder's may be."""
OUTSIDE = "outside-class-folders"
"""Why an image is left out that no class folder holds."""
_CONTROL = {"Cc", "Zl", "Zp"}
"""Unicode's categories of control characters and of separators of lines and paragraphs."""
_SHOWN = 60
"""Characters of a class name in a message."""


class Record(NamedTuple):
    """One image of a source."""

    path: bytes
    """As stored in `image/path`: relative to `Source.base`, or absolute."""
    label: str
    split: str | None = None
    """"train", "val" or "test" where the source says so."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further columns, in the order of `Source.extra_columns`."""
    hint: str = ""
    """What to say where the file is missing."""


class Records(Sequence[Record]):
    """Records side by side, in some 60 bytes each; as objects they would take four times that."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._paths = bytearray()
        self._ends = array("Q", [0])
        self._said = array("I")
        """Of each record the place of what is said of it in `_rest`."""
        places: dict[tuple[Any, ...], int] = {}
        for path, *rest in records:
            self._paths += path
            self._ends.append(len(self._paths))
            self._said.append(places.setdefault(tuple(rest), len(places)))
        self._rest = tuple(places)

    def __len__(self) -> int:
        return len(self._said)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        if isinstance(index, slice):
            return Records(self[i] for i in range(*index.indices(len(self))))
        said = self._said[index]  # raises IndexError
        index %= len(self)
        path = bytes(self._paths[self._ends[index] : self._ends[index + 1]])
        return Record(path, *self._rest[said])

    def __iter__(self) -> Iterator[Record]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of many images."""

    path: bytes
    """Relative to `Source.base`."""
    split: str | None = None
    """"train", "val" or "test" where its name says so."""
    names: tuple[str, ...] = ()
    """Of the classes, by number: from `data.class_names` or a file beside it."""
    members: Mapping[int, tuple[Record, ...]] = field(default_factory=dict)
    """Of an archive: the images that are made of each file in it, by its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A file that is not ingested, and why."""

    path: bytes
    label: str
    reason: str
    """One of a few words, such as "truncated" or "missing", to count by."""
    detail: str = ""


class Note(NamedTuple):
    """What the report keeps of an ingested image; made and pickled by the million."""

    path: bytes
    label: str
    given_split: str | None
    sha256: str
    format: str
    normalised: str | None
    width: int
    height: int
    size: int
    """Bytes of the original file."""
    digest: bytes
    """Of what the image is, wherever it came from."""
    bits: int | None = None
    """Of the largest sample of a file of 16 bits; None: it is none."""


@dataclass(slots=True)
class Notes:
    """What some records tell the report."""

    read: list[bytes] = field(default_factory=list)
    """Digests of the files that were read."""
    seen: list[bytes] = field(default_factory=list)
    """What `Seen` keeps of them."""
    images: list[Note] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    extra_columns: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    """Messages that end the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A listed source: everything known before an image is read."""

    kind: str
    """As in `data.format`."""
    base: bytes
    """Folder that relative paths start from."""
    records: Sequence[Record]
    """The images; none where only their shards are known."""
    shards: tuple[Shard, ...] = ()
    """The files to read, where they are not the images themselves."""
    quarantined: tuple[Quarantined, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Files that are no images by name, counted by kind."""
    extra_columns: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    """What a person should know of it: a sentence on one line each."""

    def file(self, read: Record | Shard) -> bytes:
        """Returns the path of an image or a shard."""
        return os.path.join(self.base, read.path)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of at most `size` items, in order."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def show(path: bytes | str) -> str:
    r"""Writes a path for people and JSON; bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """Writes out what a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def check_label(label: bytes | str, where: str) -> str:
    """Returns the label as text.

    Raises:
      DataError: it cannot be kept exactly everywhere: empty, not UTF-8, with
        characters that end a line (class names are kept one per line in
        vocabularies), spaces around it, or too long.
    """
    try:
        text = os.fsencode(label).decode("utf-8")
    except UnicodeError:
        raise DataError(
            f"{where}: expected a class name in UTF-8, got {label!a}; rename it."
        ) from None
    if not text or any(unicodedata.category(c) in _CONTROL for c in text):
        expected = "without control characters and line separators"
    elif text.strip() != text:
        expected = "without spaces before and after it"
    elif len(text.encode()) > MAX_LABEL_BYTES:
        expected = f"of at most {MAX_LABEL_BYTES} bytes"
    else:
        return text
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    where = printable(where[: 10 * _SHOWN])  # it has the name in it
    raise DataError(f"{where}: expected a class name {expected}, got {shown!a}; rename it.")


def check_labels(labels: Iterable[str], where: str) -> None:
    """Raises DataError for fewer than two classes, or two that look the same."""
    seen: dict[str, str] = {}
    for label in sorted(set(labels)):
        other = seen.setdefault(unicodedata.normalize("NFC", label), label)
        if other != label:
            raise DataError(
                f"{where}: the classes {other!a} and {label!a} look the same but are "
                "written with different Unicode characters; rename one of them."
            )
    if len(seen) < 2:
        raise DataError(f"{where}: expected at least two classes, got {sorted(seen.values())}.")


def alike(labels: Iterable[str]) -> list[str]:
    """Returns a notice of each pair of classes whose names differ in case alone."""
    seen: dict[str, str] = {}
    return [
        f"The classes {other!r} and {label!r} differ in case alone, and count as two."
        for label in sorted(set(labels))
        if (other := seen.setdefault(label.casefold(), label)) != label
    ]


def check_split(name: str, where: str) -> str:
    split = split_named(name)
    if split is None:
        names = ", ".join(SPLIT_NAMES)
        raise DataError(f"{where}: unknown split {name!r}; expected one of {names}.")
    return split
