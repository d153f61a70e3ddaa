"""Which of a shard's columns is the image, and which the label."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from common.errors import DataError, nearest
from components.example_gen.records import check_split
from modelstore.raw_example import RESERVED, TAKEN

Kind = Literal["named", "text", "number"]
"""Of a label: a number whose name is known, text, or a number."""

LABELS = (
    *("label", "labels", "class", "class_name", "classname", "label_name", "label_text"),
    *("class_label", "text_label", "category", "target", "cls", "y", "fine_label", "coarse_label"),
    *("image/class/label", "image/class/text"),
)
"""What people call the label."""
IMAGES = ("image/encoded", "image", "img")
"""What people call the image, where the images themselves do not show it."""
SPLIT = "split"
_SHOWN = 60


def is_label(name: str) -> bool:
    return name.lower() in LABELS


def choose_image(found: Collection[str], there: Collection[str], where: str, wanted: str) -> str:
    """Returns the column of the images.

    Args:
      found: those that hold images by what can be seen.
      there: all columns, for messages.
      wanted: the one that the config names, "" for none.

    Raises:
      DataError: there is none, or more than one.
    """
    if wanted:
        return _wanted("image", wanted, there, where)
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise DataError(
            f"{where}: expected encoded images (JPEG, PNG and the like) in one of its columns, "
            f"found none in {_listed(there)}; name theirs: data.columns.image = {_example(there)}."
        )
    raise DataError(
        f"{where}: the images could be {_or(found)}; choose: data.columns.image = "
        f"{_example(found)}."
    )


def choose_label(found: Mapping[str, Kind], there: Collection[str], where: str, wanted: str) -> str:
    """Returns the column of the labels; the arguments are those of `choose_image`.

    Raises:
      DataError: there is none, or more than one.
    """
    if wanted:
        return _wanted("label", wanted, there, where)
    if len(found) == 1 or found.get("label") == "named":
        return "label" if "label" in found else next(iter(found))
    if not found:
        raise DataError(
            f"{where}: expected a column with the labels (such as label), found "
            f"{_listed(there)}; name it: data.columns.label = {_example(there)}."
        )
    kinds = {"named": "numbers with names", "text": "text", "number": "numbers without names"}
    readings = [f"{name} ({kinds[kind]})" for name, kind in found.items()]
    raise DataError(
        f"{where}: the labels could be {_or(readings)}; choose: data.columns.label = "
        f"{_example(found)}."
    )


def address_error(where: str, value: str) -> DataError:
    """Returns what to say of an address in an image's place."""
    return DataError(
        f"{where}: expected encoded images, got an address ({value[:_SHOWN]}); download the images "
        "first (for example with img2dataset) and read those."
    )


def _wanted(what: str, wanted: str, there: Collection[str], where: str) -> str:
    if wanted not in there:
        raise DataError(
            f"{where}: data.columns.{what} is {wanted!r}, found {_listed(there)}."
            f"{nearest(wanted, there)}"
        )
    return wanted


def split_of(value: Any, given: str | None, where: str) -> str:
    """Returns the split of an image that has one of its own; `given` is its shard's.

    Raises:
      DataError: it is unknown, or not the shard's.
    """
    split = check_split(str(value or ""), where)
    if given not in (None, split):
        raise DataError(
            f"{where}: the file's name says {given}, its column split says {split}; "
            "rename the file or the column."
        )
    return split


def is_extra(name: str) -> bool:
    """Says whether a column may become a feature of its own name."""
    return bool(
        name.strip()
        and name.isprintable()
        and name not in RESERVED
        and not name.startswith((*TAKEN, "__"))
    )


def _listed(columns: Collection[str]) -> str:
    return ", ".join(columns) or "nothing"


def _or(columns: Collection[str]) -> str:
    *first, last = columns
    return f"{', '.join(first)} or {last}"


def _example(columns: Collection[str]) -> str:
    return f'"{next(iter(columns), "NAME")}"'
