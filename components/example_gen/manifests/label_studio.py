"""Reading what Label Studio exports as JSON and JSON-MIN, where each image has one choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from common.errors import DataError
from components.example_gen.manifests import columns, labels
from components.example_gen.manifests.table import Table

_BOOKKEEPING = {
    "id",
    "annotator",
    "annotation_id",
    "created_at",
    "updated_at",
    "lead_time",
}
"""Of a task in JSON-MIN, besides its data and its results."""


def is_export(data: Any) -> bool:
    """Says whether these are tasks with their annotations."""
    return _begins_with(data, {"data", "annotations"})


def is_min_export(data: Any) -> bool:
    """Says whether these are tasks as JSON-MIN has them."""
    return _begins_with(data, {"annotation_id", "annotator"})


def _begins_with(data: Any, keys: set[str]) -> bool:
    return (
        isinstance(data, list) and bool(data) and isinstance(data[0], dict) and keys <= {*data[0]}
    )


def read_export(data: list[Any], path: str) -> Table:
    """Reads each task with the choice that its annotators agree in.

    Raises:
      DataError: naming the task, for what cannot be understood.
    """
    table = Table()
    for number, task in enumerate(data, start=1):
        where = f"{path}, task {number}"
        try:
            results = [
                result
                for annotation in task["annotations"]
                if not annotation.get("was_cancelled")
                for result in annotation["result"]
            ]
            image = _image(task["data"], where)
            chosen = _chosen(results, where)
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{where}: expected a task as Label Studio exports it.") from None
        labels.add(table, where, image, chosen)
    return labels.conclude(table, path, "choice")


def read_min_export(rows: Iterable[tuple[str, Any]], path: str) -> Table:
    """Reads rows of JSON-MIN: the image and its choice, under the name of its control.

    Raises:
      DataError: naming the row, for what cannot be understood.
    """
    table = Table()
    for where, row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected a task as Label Studio exports it, got {row!r}.")
        values = {k: v for k, v in row.items() if k not in _BOOKKEEPING}
        image = columns.column_of("path", list(values), where)
        results = [k for k in values if k != image]
        label = columns.column_of("label", results, where)
        if label is None and len(results) == 1:
            label = results[0]
        if image is None or (label is None and results):
            raise columns.missing(list(values), where)
        chosen = values.get(label) if label else None
        if isinstance(chosen, dict):
            chosen = chosen.get("choices")
        if not isinstance(chosen, list):
            chosen = [chosen] if chosen else []
        if not all(isinstance(each, str) for each in [values[image], *chosen]):
            raise DataError(f"{where}: expected an image and its choice, got {values!r}.")
        labels.add(table, where, values[image], {*chosen})
    return labels.conclude(table, path, "choice")


def _image(data: Mapping[str, Any], where: str) -> str:
    image = columns.column_of("path", list(data), where)
    if image is None and len(data) == 1:
        (image,) = data
    if image is None or not isinstance(data[image], str):
        raise DataError(f"{where}: expected an image in the data, got {', '.join(data)}.")
    return str(data[image])


def _chosen(results: list[dict[str, Any]], where: str) -> set[str]:
    """Returns what was chosen; raises DataError unless one control was used, one of choices."""
    of_choices = [r for r in results if r["type"] == "choices"]
    if results and not of_choices:
        kinds = ", ".join(sorted({r["type"] for r in results}))
        raise DataError(f"{where}: expected a result of type choices, got {kinds}.")
    controls = sorted({r["from_name"] for r in of_choices})
    if len(controls) > 1:
        raise DataError(
            f"{where}: {' and '.join(map(repr, controls))} could each be the label; export one."
        )
    choices = {choice for r in of_choices for choice in r["value"]["choices"]}
    if not all(isinstance(choice, str) for choice in choices):
        raise DataError(f"{where}: expected choices in text, got {choices!r}.")
    return choices
