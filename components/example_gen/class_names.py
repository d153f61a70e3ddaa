"""What the classes are called, where labels are numbers or come as other values."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from common.errors import DataError
from components.example_gen.config import DataConfig
from components.example_gen.records import check_label

_SHOWN = 60


def config_names(config: DataConfig) -> tuple[str, ...]:
    """Returns `data.class_names`, read from its file where it names one."""
    names = config.class_names
    if not isinstance(names, str):
        return names or ()
    return read_names(names)


def read_names(file: str) -> tuple[str, ...]:
    """Reads class names, one a line; raises DataError."""
    try:
        with open(file, encoding="utf-8-sig") as f:
            lines = tuple(line.strip() for line in f.read().splitlines())
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{file}: expected class names, one a line: {e}.") from None
    lines = lines[: len(lines) - next((i for i, n in enumerate(reversed(lines)) if n), 0)]
    if not all(lines) or len(set(lines)) != len(lines) or not lines:
        raise DataError(f"{file}: expected class names, one a line, each different and none empty.")
    return lines


def class_name(value: Any, names: Sequence[str], where: str) -> str:
    """Returns the class's name of a label as it was found.

    Args:
      value: text, or a number: then `names` has its name, or without names it is its own.
      names: the classes' names by number; empty where there are none.

    Raises:
      DataError: there is no label, its number has no name, or it is no class at all.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        (value,) = value
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"{where}: expected one class, got {str(value)[:_SHOWN]}; an image has exactly one."
        )
    if isinstance(value, bytes | str):
        text = _text(value, where)
        if names and text not in names and re.fullmatch(r"-?\d+", text):
            return _named(int(text), names, where)
        if names and text not in names:
            raise DataError(f"{where}: the label {text!r} is none of the {len(names)} class names.")
        return check_label(text, where)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise DataError(f"{where}: there is no label; add it, or remove what has none.")
    if isinstance(value, bool) and not names:
        return "true" if value else "false"
    if isinstance(value, float) and not value.is_integer():
        raise DataError(f"{where}: expected a class, got the number {value:g}.")
    return _named(int(value), names, where)


def _named(number: int, names: Sequence[str], where: str) -> str:
    if number < 0:
        raise DataError(
            f"{where}: the label {number} means that there is none (as in a test set for a "
            "contest); remove what has none."
        )
    if names and number >= len(names):
        raise DataError(
            f"{where}: the label {number} has no name: there are {len(names)} class names "
            f"(0 to {len(names) - 1}); name it, in data.class_names if nowhere else."
        )
    return check_label(names[number] if names else str(number), where)


def _text(value: bytes | str, where: str) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise DataError(f"{where}: expected a label in UTF-8, got {value[:_SHOWN]!r}.") from None
    if not text.strip():
        raise DataError(f"{where}: there is no label; add it, or remove what has none.")
    return text.strip()
