"""Reading COCO's annotations, where the objects of each image are of one category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from typing import Any

from common.errors import DataError
from components.example_gen.manifests import labels
from components.example_gen.manifests.table import Table


def is_export(data: Any) -> bool:
    return isinstance(data, dict) and all(
        isinstance(data.get(key), list) for key in ("images", "annotations")
    )


def read_export(data: dict[str, Any], path: str) -> Table:
    """Reads each image with the category of its annotations.

    Raises:
      DataError: naming the entry, for what does not fit together.
    """
    if not isinstance(data.get("categories"), list):
        raise DataError(f"{path}: expected categories as COCO has them, got none: no labels.")
    categories = {
        _value(c, "id", where): str(_value(c, "name", where))
        for where, c in _entries(data["categories"], f"{path}, category")
    }
    names: dict[Hashable, set[str]] = defaultdict(set)
    annotated: dict[Hashable, str] = {}
    for where, annotation in _entries(data["annotations"], f"{path}, annotation"):
        category = _value(annotation, "category_id", where)
        if category not in categories:
            raise DataError(f"{where}: category_id {category!r} is not among the categories.")
        image = _value(annotation, "image_id", where)
        names[image].add(categories[category])
        annotated.setdefault(image, where)
    table = Table()
    seen = set()
    for where, image in _entries(data["images"], f"{path}, image"):
        id_ = _value(image, "id", where)
        if id_ in seen:
            raise DataError(f"{where}: the id {id_!r} is that of an earlier image; number them.")
        seen.add(id_)
        labels.add(table, where, str(_value(image, "file_name", where)), names[id_])
    for image, where in annotated.items():
        if image not in seen:
            raise DataError(f"{where}: image_id {image!r} is not among the images.")
    return labels.conclude(table, path, "category")


def _entries(values: Any, where: str) -> list[tuple[str, Any]]:
    return [(f"{where} {number}", value) for number, value in enumerate(values, start=1)]


def _value(entry: Any, key: str, where: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str | int) or value == "":
        raise DataError(f"{where}: expected {key!r} as COCO has it, got {value!r}.")
    return value
