"""Listing a manifest: CSV or JSON lines with `path`, `label`, optionally `split`.

Further columns become features of the example under their own names, as
text.  Paths are relative to the manifest, or absolute.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import Any

from common.errors import DataError, nearest
from components.example_gen.records import (
    Record,
    Source,
    check_label,
    check_labels,
    check_split,
    show,
)
from modelstore.raw_example import RESERVED, TAKEN

SUFFIXES = (".csv", ".jsonl", ".ndjson")
_COLUMNS = ("path", "label", "split")


def list_manifest(path: str) -> Source:
    """Lists the images that a manifest names; missing files show when read.

    Raises:
      DataError: naming the line, for anything that cannot be understood, and
        for one path with two labels.
    """
    rows = _csv_rows(path) if path.lower().endswith(".csv") else _json_rows(path)
    table = [(f"{path}, line {number}", row) for number, row in rows]
    if not table:
        raise DataError(f"{path}: expected a line for each image, found none.")
    extra_columns = tuple(dict.fromkeys(c for _, row in table for c in row if c not in _COLUMNS))
    _check_columns(extra_columns, path)
    seen: dict[bytes, Record] = {}
    repeated = 0
    for where, row in table:
        record = _record(row, extra_columns, where)
        first = seen.setdefault(os.path.normpath(record.path), record)
        if first is not record:
            _check_same(first, record, where)
            repeated += 1
    records = tuple(seen.values())
    splits = {r.split for r in records}
    if None in splits and len(splits) > 1:
        raise DataError(f"{path}: the column split is filled in some lines only; fill all or none.")
    if not splits & {None, "train"}:
        raise DataError(f"{path}: no line has the split train; some images are needed to train on.")
    check_labels((r.label for r in records), path)
    return Source(
        kind="manifest",
        base=os.path.dirname(os.path.abspath(os.fsencode(path))),
        records=records,
        ignored={"repeated lines": repeated} if repeated else {},
        extra_columns=extra_columns,
    )


def _record(row: dict[str, str], extra_columns: tuple[str, ...], where: str) -> Record:
    for column in ("path", "label"):
        if not row.get(column, "").strip():
            raise DataError(f"{where}: expected a value for {column!r}, got none.")
    split = row.get("split", "")
    extra = tuple((column, row.get(column, "")) for column in extra_columns)
    try:
        path = os.fsencode(row["path"])
        "".join(value for _, value in extra).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: expected text in UTF-8, got {row!a}.") from None
    return Record(
        path=path,
        label=check_label(row["label"], where),
        split=check_split(split, where) if split.strip() else None,
        extra=extra,
    )


def _check_same(first: Record, again: Record, where: str) -> None:
    for name in ("label", "split", "extra"):
        a, b = getattr(first, name), getattr(again, name)
        if a != b:
            what = "other columns" if name == "extra" else f"{name}s"
            raise DataError(
                f"{where}: {show(again.path)} is listed with two different {what}: "
                f"{a!r} and {b!r}; keep one."
            )


def _check_columns(columns: tuple[str, ...], path: str) -> None:
    for column in columns:
        if column in RESERVED or column.startswith(TAKEN):
            raise DataError(
                f"{path}: the column {column!r} has a name that visionline uses; rename it."
            )
        if not column.strip() or not column.isprintable():
            raise DataError(
                f"{path}: a column is called {column!a}; name it in UTF-8 or remove it."
            )


def _text(path: str) -> str:
    try:
        with open(path, "rb") as f:
            # A file name need not be UTF-8, so the path column must not either.
            return f.read().decode("utf-8-sig", "surrogateescape")
    except OSError as e:
        raise DataError(f"{path}: the manifest cannot be read: {e.strerror}.") from None


def _csv_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    # StringIO with newline="" keeps line ends within quoted fields.
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: expected {len(header)} values "
                    f"({', '.join(header)}), got {len(values)}."
                )
            row = dict(zip(header, values, strict=True))
            # Many write a space after the comma.
            yield reader.line_num, {**row, "label": row["label"].strip(" \t")}
    except csv.Error as e:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {e}.") from None


def _check_header(header: list[str], path: str) -> None:
    for column in ("path", "label"):
        if column not in header:
            raise DataError(
                f"{path}: expected a header with the columns path and label, comma-separated, "
                f"got {show(','.join(header))!r}.{nearest(column, header) if header else ''}"
            )
    if len(set(header)) != len(header):
        raise DataError(f"{path}: the header names {max(header, key=header.count)!r} twice.")


def _json_rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as e:
            raise DataError(f"{where}: not valid JSON: {e}.") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected an object with path and label, got {line[:60]!r}.")
        yield number, {k: _json_value(v, f"{where}: {k!r}") for k, v in row.items()}


def _json_value(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise DataError(f"{where}: expected text or a number, got {json.dumps(value)[:60]}.")
