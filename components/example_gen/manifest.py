"""Listing a manifest: a table or JSON with `path`, `label`, optionally `split`; or an export.

Further columns become features of the example under their own names, as
text.  Paths are relative to the manifest, or absolute.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from common.errors import DataError
from components.example_gen.class_names import class_name, config_names
from components.example_gen.config import Columns, DataConfig
from components.example_gen.folders.names import is_hidden
from components.example_gen.manifests import columns, delimited, objects, one_hot
from components.example_gen.manifests.files import File, Written, find_files
from components.example_gen.manifests.finder import Finder
from components.example_gen.manifests.table import Table, check_utf8, read_text
from components.example_gen.records import (
    Record,
    Source,
    check_label,
    check_labels,
    check_split,
    show,
)
from modelstore.raw_example import RESERVED, TAKEN

SUFFIXES = delimited.SUFFIXES + objects.SUFFIXES
"""What manifests are called."""
OTHER_SUFFIXES = (".txt", ".tab", ".psv", ".xlsx", ".xls")
"""What they are called too; only a file that is given itself is taken for one."""
_NO_VALUE = re.compile(r"nan|NaN|<NA>|NaT|#(N/A|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!)")
"""What pandas and Excel write where there is no value."""

_Rows = Sequence[tuple[str, dict[str, str]]]


def list_manifest(path: str, config: DataConfig) -> Source:
    """Lists the images that a manifest names; missing files show when read.

    Args:
      config: `columns` and `class_names` count.

    Raises:
      DataError: naming the line, for anything that cannot be understood, and
        for one file with two labels.
    """
    source = read_manifest(path, config)
    splits = {r.split for r in source.records}
    if not splits & {None, "train"}:
        raise DataError(f"{path}: no line has the split train; some images are needed to train on.")
    check_labels((r.label for r in source.records), path)
    return source


def read_manifest(path: str, config: DataConfig) -> Source:
    """Lists the images of a manifest, be it of one split or one class; see `list_manifest`."""
    table = _read(path, config.columns.image)
    if config.columns.label is None:
        table = one_hot.with_labels(table, path)
    if not table.rows:
        raise DataError(f"{path}: expected a line for each image, found none.")
    names = tuple(dict.fromkeys(c for _, row in table.rows for c in row))
    roles = _roles(names, table.rows, path, config.columns)
    named = config_names(config)
    # One that is called so where the config names another is left aside.
    extra_columns = tuple(c for c in names if c not in (*roles.values(), *columns.ROLES))
    _check_columns(extra_columns, path)
    base = os.path.dirname(os.path.abspath(os.fsencode(path)))
    finder = Finder(base)
    rows = [(where, _by_role(row, roles, where)) for where, row in table.rows]
    files, notices = find_files([_written(row, where) for where, row in rows], finder, path)
    seen: dict[bytes, tuple[Record, str]] = {}
    repeated = 0
    for (where, row), file in zip(rows, files, strict=True):
        record = _record(row, extra_columns, file, where, named)
        first, first_where = seen.setdefault(finder.identity(record.path), (record, where))
        if first is not record:
            _check_same(first, record, first_where, where)
            repeated += 1
    records = tuple(record for record, _ in seen.values())
    splits = {r.split for r in records}
    if None in splits and len(splits) > 1:
        raise DataError(f"{path}: the column split is filled in some lines only; fill all or none.")
    _check_alike((r.label, where) for r, where in seen.values())
    return Source(
        kind="manifest",
        base=base,
        records=records,
        quarantined=tuple(table.quarantined),
        ignored=dict(table.ignored) | ({"repeated lines": repeated} if repeated else {}),
        extra_columns=extra_columns,
        notices=(*_renamed(roles, path, config.columns), *table.notices, *notices),
    )


def manifests_in(folder: str) -> list[str]:
    """Returns the names of the manifests in a folder; a JSON file is one if it names images."""
    return sorted(
        name
        for name in os.listdir(folder)
        if name.lower().endswith(SUFFIXES)
        and not is_hidden(os.fsencode(name))
        and (not name.lower().endswith(".json") or objects.is_manifest(os.path.join(folder, name)))
    )


def _read(path: str, image: str | None) -> Table:
    text = read_text(path)
    name = path.lower()
    if name.endswith((".jsonl", ".ndjson")):
        return objects.read_lines(text, path)
    if name.endswith(".json") or text.lstrip()[:1] in ("{", "["):
        return objects.read_json(text, path)
    return delimited.read_table(text, path, image)


def _roles(names: Sequence[str], rows: _Rows, path: str, chosen: Columns) -> dict[str, str]:
    """Returns the column of each role; `split` only where there is one."""
    splits = [
        column
        for column in columns.candidates("split", names)
        if columns.is_by_name("split", column) or _holds_splits(column, rows)
    ]
    roles = {
        "path": columns.column_of("path", names, path, chosen.image),
        "label": columns.column_of("label", names, path, chosen.label),
        "split": columns.column_of("split", names if chosen.split else splits, path, chosen.split),
    }
    if roles["path"] is None or roles["label"] is None:
        raise columns.missing([show(name) for name in names], path)
    return {role: column for role, column in roles.items() if column is not None}


def _holds_splits(column: str, rows: _Rows) -> bool:
    values = {row.get(column, "") for _, row in rows}
    try:
        for value in values:
            check_split(value, "")
    except DataError:
        return False
    return True


def _renamed(roles: dict[str, str], path: str, chosen: Columns) -> Iterator[str]:
    told = (chosen.image, chosen.label, chosen.split)
    renamed = [
        f"{column!r} as the {role}"
        for role, column in roles.items()
        if not columns.is_by_name(role, column) and column not in told
    ]
    if renamed:
        yield f"{path}: columns are read by their common names: {', '.join(renamed)}."


def _by_role(row: dict[str, str], roles: dict[str, str], where: str) -> dict[str, str]:
    """Returns the values of a row under the names of their roles."""
    for role in ("path", "label"):
        if not row.get(roles[role], "").strip():
            raise DataError(
                f"{where}: expected a value for {roles[role]!r}, got none; "
                "fill it in, or remove the line."
            )
    return {**row, **{role: row.get(column, "") for role, column in roles.items()}}


def _written(row: dict[str, str], where: str) -> Written:
    if "\0" in row["path"]:
        raise DataError(
            f"{where}: expected the path of a file, got {row['path']!a}; mend the line."
        )
    try:
        return Written(where, os.fsencode(row["path"]))
    except UnicodeEncodeError:
        raise DataError(f"{where}: expected text in UTF-8, got {row!a}.") from None


def _record(
    row: dict[str, str], extra_columns: Sequence[str], file: File, where: str, named: Sequence[str]
) -> Record:
    split = row.get("split", "")
    extra = tuple((column, row.get(column, "")) for column in extra_columns)
    for _, value in extra:
        check_utf8(value, "text", where)
    check_utf8(row["label"], "a class name", where)
    if _NO_VALUE.fullmatch(row["label"]):
        raise DataError(
            f"{where}: the label is {row['label']!r}, which stands for a value that is not there; "
            "give the image a label, or remove the line."
        )
    return Record(
        path=file.path,
        label=class_name(row["label"], named, where) if named else check_label(row["label"], where),
        split=check_split(split, where) if split.strip() else None,
        extra=extra,
        hint=file.hint,
    )


def _check_same(first: Record, again: Record, first_where: str, where: str) -> None:
    for name in ("label", "split", "extra"):
        a, b = getattr(first, name), getattr(again, name)
        if a != b:
            what = "other columns" if name == "extra" else f"{name}s"
            raise DataError(
                f"{where}: {show(again.path)} is listed with two different {what}: "
                f"{a!r} and {b!r}, the first in {first_where}; keep one."
            )


def _check_alike(labels: Iterable[tuple[str, str]]) -> None:
    """Refuses labels that are one number or truth value, written in two ways."""
    seen: dict[str, tuple[str, str]] = {}
    for label, where in labels:
        whole = re.fullmatch(r"(-?\d+)[.,]0+", label)
        folded = label.lower()
        value = whole[1] if whole else folded if folded in ("true", "false") else label
        other, other_where = seen.setdefault(value, (label, where))
        if other != label:
            raise DataError(
                f"{where}: the label {label!r} may be the class {other!r} of {other_where}, or one "
                "of its own; write it in one way, or give them other names."
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
