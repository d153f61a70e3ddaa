"""How a record becomes custom properties in ML Metadata, and is read back.

A record is a dataclass whose fields are named as the properties are stored; None: not
recorded.  `Verdict.read(execution)` reads all of one, `value_of(execution, Verdict.accuracy)`
a single property, and `name_of(Verdict.accuracy)` is what it is stored as.

Numbers and texts are stored as they are, booleans as 1 and 0, tuples of texts one a line,
and tables and lists as JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")
Value = str | int | float
_LARGEST_INT = 2**31 - 1
"""MLMD's columns on MySQL and PostgreSQL hold no larger ones; doubles do."""


class Properties(Protocol):
    """What a record is read from: a table, or a node of a store."""

    def get(self, key: str, /) -> Any: ...


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots; it is these that `name_of` and `value_of` are given."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


@record
class Record:
    """The base of what is recorded."""

    def properties(self) -> dict[str, Value]:
        """The custom properties; what is not known is left out."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: _written(v) for k, v in values.items() if v is not None and v != ()}

    @classmethod
    def read(cls, properties: Properties) -> Self:
        """The record that properties hold; what is of another type counts as not recorded."""
        return cls(**{k: read(properties.get(k)) for k, read in _readers(cls).items()})  # type: ignore[arg-type]


def name_of(field: object) -> str:
    """What a field, such as `Verdict.accuracy`, is stored as."""
    return str(field.__name__)  # type: ignore[attr-defined]  # a slot of the class


def names_of(*records: object) -> tuple[str, ...]:
    """What fields are stored as; of a class all of its."""
    return tuple(
        text
        for each in records
        for text in (_readers(each) if isinstance(each, type) else (name_of(each),))
    )


def value_of(properties: Properties, field: T) -> T:
    """A single property, such as `Verdict.accuracy`; None where it is not recorded."""
    key = name_of(field)
    return _readers(field.__objclass__)[key](properties.get(key))  # type: ignore[attr-defined,no-any-return]


def annotate(message: Any, *records: Record | Mapping[str, Value]) -> None:
    """Adds custom properties to an MLMD message, or to an artifact of TFX."""
    message = getattr(message, "mlmd_artifact", message)
    tables = (r.properties() if isinstance(r, Record) else r for r in records)
    for key, each in (pair for table in tables for pair in table.items()):
        slot = message.custom_properties[key]
        if isinstance(each, bool | int) and abs(each) <= _LARGEST_INT:
            slot.int_value = int(each)
        elif isinstance(each, int | float) and math.isfinite(each):
            slot.double_value = each
        else:
            slot.string_value = str(each)


def annotated(message: Any) -> dict[str, Any]:
    """The custom properties of an MLMD message, or of an artifact of TFX."""
    message = getattr(message, "mlmd_artifact", message)
    custom = message.custom_properties.items()
    return {k: getattr(v, kind) for k, v in custom if (kind := v.WhichOneof("value"))}


def lines(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts as they can be stored one a line, whatever ends lines in them."""
    return tuple(" ".join(text.splitlines()) for text in texts)


def _written(each: Any) -> Value:
    if isinstance(each, tuple):
        return "\n".join(each)
    if isinstance(each, bool):
        return int(each)
    return each if isinstance(each, str | int | float) else json.dumps(each, sort_keys=True)


@functools.cache
def _readers(cls: Any) -> dict[str, Callable[[Any], Any]]:
    """How each field of a record's class is read."""
    hints = typing.get_type_hints(cls)
    return {f.name: _READ[_plain(hints[f.name])] for f in dataclasses.fields(cls)}


def _plain(hint: Any) -> type:
    """`str` of `str | None`, `dict` of `dict[str, int] | None`."""
    if isinstance(hint, types.UnionType):
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))
    plain: type = typing.get_origin(hint) or hint
    return plain


def _text(each: Any) -> str | None:
    return None if each is None or each == "" else str(each)


def _int(each: Any) -> int | None:
    if isinstance(each, str) and each.lstrip("-").isdecimal():
        return int(each)
    return int(each) if isinstance(each, int | float) else None


def _float(each: Any) -> float | None:
    return float(each) if isinstance(each, int | float) else None


def _bool(each: Any) -> bool | None:
    return bool(each) if isinstance(each, int | float) else None


def _lines(each: Any) -> tuple[str, ...]:
    return tuple(each.split("\n")) if isinstance(each, str) and each else ()


def _json(kind: type) -> Callable[[Any], Any]:
    def read(each: Any) -> Any:
        try:
            each = json.loads(each) if isinstance(each, str) else each
        except ValueError:
            return None
        return each if isinstance(each, kind) else None

    return read


_READ: dict[type, Callable[[Any], Any]] = {
    str: _text,
    int: _int,
    float: _float,
    bool: _bool,
    tuple: _lines,
    dict: _json(dict),
    list: _json(list),
}
