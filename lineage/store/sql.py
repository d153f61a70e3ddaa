"""What SQL says and MLMD's tables hold, as Python has it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from common.record.artifacts import IMPORTED
from lineage.store.records import Value

T = TypeVar("T")
Row = Sequence[Any]
"""Of a table."""
Query = Callable[[str, Sequence[Any]], Sequence[Row]]
"""Runs a SELECT with "?" for its parameters; raises StoreError.

The result is whole: another statement must not find a cursor open."""
STRUCT = "mlmd-struct::"
BATCH = 1000
"""Ids per statement."""


def times(custom: dict[str, Value], created: int, updated: int) -> tuple[int, int]:
    """Returns creation and update in milliseconds; the original ones of what was imported.

    Takes the property that says so out of `custom`.
    """
    original = custom.pop(IMPORTED, None)
    if isinstance(original, str):
        try:
            moments = json.loads(original)
            return int(moments["created"]), int(moments["updated"])
        except (ValueError, KeyError, TypeError):
            pass  # somebody else's property of that name
    return created, updated


def value_in(
    int_value: int | None, double_value: float | None, string_value: str | None, bool_value: Any
) -> Value:
    if string_value is not None:
        return _decoded(string_value) if string_value.startswith(STRUCT) else string_value
    if int_value is not None:
        return int_value
    if double_value is not None:
        return double_value
    return None if bool_value is None else bool(bool_value)


def _decoded(text: str) -> Value:
    from lineage.store.structs import parse_struct

    try:
        return parse_struct(base64.b64decode(text[len(STRUCT) :]))
    except ValueError:
        return text


def named(names: Sequence[str], number: int | None) -> str:
    return names[number] if number is not None and 0 <= number < len(names) else names[0]


def id_list(ids: Iterable[int]) -> str:
    """Returns ids as SQL lists them; of none, a list that nothing is in."""
    return ",".join(str(int(i)) for i in ids) or "NULL"


def marks(values: Collection[str]) -> str:
    return ",".join("?" * len(values)) or "NULL"


def batches(values: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
