"""How values are written for people: numbers, durations, sizes, moments, digests, settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

NOT_RECORDED = "not recorded"
NONE = "-"
"""In a table, where there is no room for NOT_RECORDED."""
_SHORT = 12
_UNITS = ("kB", "MB", "GB", "TB")


def known(value: T | None, form: Callable[[T], str] = str, missing: str = NOT_RECORDED) -> str:
    """Writes a value, or that it is not recorded."""
    return missing if value is None else form(value)


def cell(value: T | None, form: Callable[[T], str] = str) -> str:
    """Writes a value in a table."""
    return known(value, form, NONE)


def count(value: int) -> str:
    """Writes an integer with its thousands apart."""
    return f"{value:,}"


def counts(value: Mapping[str, int]) -> str:
    """Writes images by split, or the like."""
    return ", ".join(f"{key} {number:,}" for key, number in value.items())


def share(value: float) -> str:
    """Writes an accuracy, a loss, or another number of four decimals."""
    return f"{value:.4f}"


def change(value: float) -> str:
    """Writes the difference of two shares."""
    return f"{value:+.4f}"


def duration(seconds: float) -> str:
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 0.095 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def milliseconds(value: float) -> str:
    return f"{value:.2f} ms"


def size(value: float) -> str:
    """Writes bytes, in powers of 1000."""
    if abs(value) < 1000:
        return f"{value:.0f} bytes"
    power = next((p for p in range(1, len(_UNITS)) if abs(value) < 999.95 * 1000**p), len(_UNITS))
    return f"{value / 1000**power:.1f} {_UNITS[power - 1]}"


def moment(when: str) -> str:
    """Writes a time that is recorded as ISO 8601, UTC, to the second."""
    return when.replace("T", " ").replace("+00:00", "Z")


def minute(when: str) -> str:
    """Writes a time that is recorded as ISO 8601, UTC, to the minute."""
    return when[:16].replace("T", " ")


def short(digest: str) -> str:
    """Writes what tells a digest or commit from others."""
    return digest[:_SHORT]


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Writes nested settings as dotted keys and values, sorted."""
    for key in sorted(table):
        inner = table[key]
        if isinstance(inner, Mapping) and inner:
            yield from flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(inner)


def plain(value: Any) -> str:
    """Writes a setting as JSON; text without its quotes."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
