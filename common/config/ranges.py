"""What values a key may have: rules that a field declares, and checks between fields.

A rule stands in the field's type, `epochs: Annotated[int, at_least(1)]`.  `strict` checks it
wherever a config is made, and the docs and the JSON Schema show it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from common.errors import ConfigError, nearest

DAY = 86_400
"""Seconds; no timeout or pause is longer."""
MOST_THREADS = 1024
_SHOWN = 200


def require(ok: bool, message: str) -> None:
    """Raises ConfigError(message) unless `ok`."""
    if not ok:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What a value must be besides its type."""

    expected: str
    """Follows "expected" in errors."""
    holds: Callable[[Any], bool]
    schema: dict[str, Any] = field(default_factory=dict)
    """The same as keywords of JSON Schema, where it has words for it."""
    names: Collection[str] = ()
    """All there are, to name the nearest one."""

    def check(self, value: Any, where: str) -> None:
        """Raises ConfigError for a value that breaks the rule; `where` is its key."""
        if not self.holds(value):
            close = nearest(value, self.names) if isinstance(value, str) and self.names else ""
            raise ConfigError(f"{where}: expected {self.expected}, got {shown(value)}.{close}")


@dataclass(frozen=True, slots=True, eq=False)
class By:
    """A check that says for itself what is wrong: a function of key and value."""

    function: Callable[[str, Any], object]
    expected: str = ""
    schema: dict[str, Any] = field(default_factory=dict)

    def check(self, value: Any, where: str) -> None:
        self.function(where, value)


def at_least(least: float, *, below: float | None = None) -> Rule:
    """Finite numbers from `least` on, those from `below` on excepted."""
    words, schema = f"{least} or more", {"minimum": least}
    if below is None:
        return Rule(words, lambda v: math.isfinite(v) and v >= least, schema)
    schema["exclusiveMaximum"] = below
    return Rule(f"{words} and less than {below}", lambda v: least <= v < below, schema)


def more_than(over: float, *, at_most: float | None = None, below: float | None = None) -> Rule:
    """Finite numbers above `over`, up to `at_most` or below `below`."""
    schema = {"exclusiveMinimum": over}
    if at_most is not None:
        words = f"more than {over} and at most {at_most}"
        return Rule(words, lambda v: over < v <= at_most, {**schema, "maximum": at_most})
    if below is not None:
        words = f"more than {over} and less than {below}"
        return Rule(words, lambda v: over < v < below, {**schema, "exclusiveMaximum": below})
    return Rule(f"more than {over}", lambda v: math.isfinite(v) and v > over, schema)


def between(least: float, most: float) -> Rule:
    """Numbers from `least` to `most`, both included."""
    schema = {"minimum": least, "maximum": most}
    return Rule(f"{least} to {most}", lambda v: least <= v <= most, schema)


def one_of(choices: Collection[Any], expected: str = "") -> Rule:
    """These values alone; `expected` where they are better not listed in an error."""
    names = [c for c in choices if isinstance(c, str)]
    words = expected or f"one of {', '.join(map(repr, choices))}"
    return Rule(words, lambda v: v in choices, {"enum": list(choices)}, names)


def matching(pattern: str, expected: str) -> Rule:
    """Texts that match a regular expression as a whole."""
    schema = {"pattern": f"^(?:{pattern})$"}
    return Rule(expected, lambda v: re.fullmatch(pattern, v) is not None, schema)


def filled(expected: str) -> Rule:
    """Texts with something besides spaces in them."""
    return Rule(expected, lambda v: bool(v.strip()), {"pattern": r"\S"})


def shown(value: Any) -> str:
    """Writes a value for an error: as Python writes it, and no more than a line of it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits; tables in tables in tables
        return f"{type(value).__name__} too large to be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
