"""What a listing of a data source consists of.

Paths are bytes throughout: a file name need not be UTF-8.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from common.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "test": "test",
}
"""What people call the splits, and what they are called here."""
MAX_LABEL_BYTES = 255
"""Of a class name in UTF-8: as long as a folder's may be."""
_CONTROL = {"Cc", "Zl", "Zp"}
"""Unicode's categories of control characters and of separators of lines and paragraphs."""
_SHOWN = 60
"""Characters of a class name in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image that a source lists, unread (or one TFRecord file)."""

    path: bytes
    """As stored in `image/path`: relative to `Source.base`, or absolute."""
    label: str
    split: str | None = None
    """"train", "val" or "test" where the source says so."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further columns, in the order of `Source.extra_columns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A file that is not ingested, and why."""

    path: bytes
    label: str
    reason: str
    """One of a few words, such as "truncated" or "missing", to count by."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the report keeps of an ingested image."""

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


@dataclass(slots=True)
class Notes:
    """What some records tell the report."""

    digests: list[bytes] = field(default_factory=list)
    images: list[Note] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    extra_columns: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    """Messages that end the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A listed source: everything known before an image is read."""

    kind: Literal["folder", "manifest", "tfrecord"]
    base: bytes
    """Folder that relative paths start from."""
    records: tuple[Record, ...]
    quarantined: tuple[Quarantined, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Files that are no images by name, counted by kind."""
    extra_columns: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    """What a person should know of it: a sentence on one line each."""

    def file(self, record: Record) -> bytes:
        return os.path.join(self.base, record.path)


def batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Yields lists of at most `size` records, in order."""
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch


def show(path: bytes | str) -> str:
    r"""Writes a path for people and JSON; bytes that are not UTF-8 become \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


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
    # The path has the name in it, and a terminal would obey it.
    where = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in where[: 10 * _SHOWN])
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


def check_split(name: str, where: str) -> str:
    split = SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        names = ", ".join(SPLIT_NAMES)
        raise DataError(f"{where}: unknown split {name!r}; expected one of {names}.")
    return split
