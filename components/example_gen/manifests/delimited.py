"""Reading a table of text: values parted by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from common.errors import DataError
from components.example_gen.manifests import columns
from components.example_gen.manifests.table import Table
from components.example_gen.records import show

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_SEP = re.compile(r'"?sep=(.)"?[ \t,;]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""Excel's first line, which names the delimiter."""
_UNNAMED = re.compile(r"(Unnamed: \d+(_level_\d+)?(\.\d+)?)?")
"""A column without a name, also as pandas calls it."""
_BLANKS = " \t\xa0\u3000"
_HEADER_SIZE = 1 << 16
"""Characters that are looked at to find the delimiter."""

_Line = tuple[int, list[str]]


def read_table(text: str, path: str, image: str | None = None) -> Table:
    """Reads the rows of a table whose first line names its columns.

    Args:
      image: the column that the config names for the paths.

    Raises:
      DataError: naming the line, for what cannot be understood.
    """
    sep = _SEP.match(text)
    skipped = 1 if sep else 0
    text = text[sep.end() :] if sep else text
    delimiter = _delimiter(text, sep[1] if sep else _DELIMITERS, path, image)
    lines = [(number + skipped, values) for number, values in _lines(text, delimiter, path)]
    (_, header), *lines = lines
    table = Table()
    filled = [(n, values) for n, values in lines if any(values)]
    if len(filled) < len(lines):
        table.ignored["empty rows"] = len(lines) - len(filled)
    for number, values in filled:
        _fit(values, header, f"{path}, line {number}")
    named = [i for i in range(len(header)) if not _is_left_out(i, header, filled)]
    names = [header[i] for i in named]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: the header names {max(names, key=names.count)!r} twice.")
    for number, values in filled:
        table.rows.append((f"{path}, line {number}", {header[i]: values[i] for i in named}))
    return table


def _delimiter(text: str, possible: str, path: str, image: str | None) -> str:
    """Returns the delimiter that makes columns of the header."""
    headers = {d: _header(text, d) for d in possible}
    found = [
        d
        for d, h in headers.items()
        if len(h) > 1 and (image in h if image else columns.candidates("path", h))
    ]
    if len(found) == 1:
        return found[0]
    header = max(headers.values(), key=len)
    if not any(header):
        raise DataError(f"{path}: expected a header with the columns path and label, got nothing.")
    raise columns.missing([show(name) for name in header], f"{path}, first line")


def _header(text: str, delimiter: str) -> list[str]:
    try:
        return next(_lines(text[:_HEADER_SIZE], delimiter, ""), (0, []))[1]
    except DataError:
        return []


def _lines(text: str, delimiter: str, path: str) -> Iterator[_Line]:
    """Yields the lines that hold anything, by number; blanks around values are left out."""
    # Blanks before a quote are skipped; csv takes those after one for an error.
    text = re.sub(rf'(?<=[^"])"[ \t]+(?={re.escape(delimiter)}|[\r\n]|\Z)', '"', text)
    # StringIO with newline="" keeps line ends within quoted fields.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for values in reader:
            if values:
                yield reader.line_num, [v.strip(_BLANKS) for v in values]
    except csv.Error as e:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {e}.") from None


def _fit(values: list[str], header: list[str], where: str) -> None:
    """Makes a line as long as the header, where that loses nothing."""
    while len(values) > len(header) and not values[-1]:
        values.pop()
    unnamed = len(header) - len(values)
    if unnamed > 0 and not any(header[-unnamed:]):
        values += [""] * unnamed
    if len(values) != len(header):
        raise DataError(
            f"{where}: expected {len(header)} values ({', '.join(map(show, header))}), "
            f"got {len(values)}; a value that holds the delimiter must stand in quotes."
        )


def _is_left_out(column: int, header: list[str], lines: list[_Line]) -> bool:
    """Says whether a column is none: pandas' index, or what a spreadsheet adds at the end."""
    if not _UNNAMED.fullmatch(header[column]):
        return False
    values = {values[column] for _, values in lines}
    return values <= {""} or all(value.isdecimal() for value in values)
