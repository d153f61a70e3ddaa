"""What every reader of a manifest makes of it: rows of text, each with its place."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from dataclasses import dataclass, field

from common.errors import DataError
from components.example_gen.records import Quarantined

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed by gzip",
    b"PAR1": "a Parquet file",
}


@dataclass(slots=True)
class Table:
    """The rows of a manifest."""

    rows: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Where each stands, such as "list.csv, line 3", and its values by column."""
    ignored: Counter[str] = field(default_factory=Counter)
    """What is no row, counted by kind."""
    quarantined: list[Quarantined] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def read_text(path: str) -> str:
    """Reads a manifest, in the encoding that its byte order mark names, or else UTF-8.

    A file name need not be UTF-8, so the path column must not either: bytes that are none
    become surrogates.

    Raises:
      DataError: it cannot be read, or is no text.
    """
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        raise DataError(f"{path}: the manifest cannot be read: {e.strerror}.") from None
    for begin, what in _NO_TEXT.items():
        if data.startswith(begin):
            raise DataError(f"{path}: expected text, got {what}; save it as CSV in UTF-8.")
    for begin, encoding in _BOMS.items():
        if data.startswith(begin):
            try:
                return data.decode(encoding).lstrip("\ufeff")
            except UnicodeDecodeError as e:
                raise DataError(
                    f"{path}: begins as {encoding} and is none from byte {e.start} on; "
                    "save it as UTF-8."
                ) from None
    if b"\0" in data:
        raise DataError(
            f"{path}: expected text in UTF-8, got zero bytes, as UTF-16 has; save it as UTF-8."
        )
    return data.decode("utf-8", "surrogateescape")


def in_windows_1252(text: str) -> str | None:
    """Returns text that is not UTF-8 as Windows-1252 reads it; None where it is UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode("cp1252")
        except UnicodeError:
            return None
    return None


def check_utf8(text: str, what: str, where: str) -> None:
    """Raises DataError for text with bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        windows = in_windows_1252(text)
        reads = f", which is {windows!r} in Windows-1252" if windows else ""
        raise DataError(
            f"{where}: expected {what} in UTF-8, got {text!a}{reads}; "
            "save the manifest as UTF-8 (in Excel: CSV UTF-8)."
        ) from None
