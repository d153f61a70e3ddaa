"""Reading JSON: an object for each image, on a line each or in an array; or an export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from common.errors import DataError
from components.example_gen.folders.names import image_by_name
from components.example_gen.manifests import coco, columns, label_studio
from components.example_gen.manifests.table import Table, read_text

SUFFIXES = (".jsonl", ".ndjson", ".json")
_SHOWN = 60


def read_lines(text: str, path: str) -> Table:
    """Reads one object a line.

    Raises:
      DataError: naming the line, for what cannot be understood.
    """
    table = Table()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as e:
            raise DataError(
                f"{where}: not valid JSON: {e}. Expected an object on each line; "
                "an array of them is called .json."
            ) from None
        table.rows.append((where, _row(row, where)))
    return table


def read_json(text: str, path: str) -> Table:
    """Reads an array of objects, or what COCO and Label Studio export.

    Raises:
      DataError: naming the place, for what cannot be understood.
    """
    try:
        data = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as e:
        if _is_line(text.lstrip().partition("\n")[0]):
            return read_lines(text, path)
        raise DataError(f"{path}: not valid JSON: {e}.") from None
    if coco.is_export(data):
        return coco.read_export(data, path)
    if label_studio.is_export(data):
        return label_studio.read_export(data, path)
    if pairs := _pairs(data):
        rows = [(f"{path}, {p!r}", {"path": p, "label": label}) for p, label in pairs]
        return Table(rows=rows)
    if not isinstance(data, list):
        keys = f"an object with {', '.join(map(repr, list(data)[:5]))}" if _is_row(data) else text
        raise DataError(
            f"{path}: expected an array of objects with path and label, or an export of COCO or "
            f"Label Studio, got {keys[:_SHOWN]}; with pandas: to_json(orient='records')."
        )
    objects = list(_items(data, path))
    if label_studio.is_min_export(data):
        return label_studio.read_min_export(objects, path)
    return Table(rows=[(where, _row(row, where)) for where, row in objects])


def is_manifest(path: str) -> bool:
    """Says whether a JSON file names images and labels, by what it holds."""
    try:
        data = json.loads(read_text(path))
    except (DataError, ValueError, RecursionError):
        return False
    exports = (coco.is_export, label_studio.is_export, label_studio.is_min_export, _pairs)
    return any(is_one(data) for is_one in exports) or (
        isinstance(data, list)
        and bool(data)
        and _is_row(data[0])
        and all(columns.candidates(role, list(data[0])) for role in ("path", "label"))
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a JSON object; raises ValueError where it says two things of one key."""
    found = dict(pairs)
    for key, value in pairs if len(found) < len(pairs) else ():
        if found[key] != value:
            raise ValueError(f"{key!r} is there twice, as {value!r} and {found[key]!r}")
    return found


def _pairs(data: Any) -> list[tuple[str, str]]:
    """Returns path and label of an object such as {"a.jpg": "cat"} or {"cat": ["a.jpg"]}."""
    if not isinstance(data, dict):
        return []
    pairs = [
        (path, label) if isinstance(path, str) else ("", "")
        for key, value in data.items()
        for path, label in (
            [(v, key) for v in value] if isinstance(value, list) else [(key, value)]
        )
    ]
    labelled = all(
        isinstance(label, str) and image_by_name(path.encode("utf-8", "replace")) == "yes"
        for path, label in pairs
    )
    return pairs if labelled else []


def _is_row(value: Any) -> bool:
    return isinstance(value, dict)


def _is_line(line: str) -> bool:
    try:
        return _is_row(json.loads(line))
    except (ValueError, RecursionError):
        return False


def _items(data: list[Any], path: str) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(data, start=1):
        yield f"{path}, item {number}", item


def _row(row: Any, where: str) -> dict[str, str]:
    if not _is_row(row):
        raise DataError(
            f"{where}: expected an object with path and label, got {json.dumps(row)[:_SHOWN]!r}."
        )
    return {k: text_of(v, f"{where}: {k!r}") for k, v in row.items()}


def text_of(value: Any, where: str) -> str:
    """Returns a JSON value as text, "" for null; raises DataError for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise DataError(f"{where}: expected text or a number, got {json.dumps(value)[:_SHOWN]}.")
