"""Typed dataclasses from untyped data (TOML, JSON), refusing what is unknown.

`parse` is the one way a config enters the program: unknown keys are refused
with the nearest known one named, and every value is checked against its
field's type and the rules in it (`common.config.ranges`).  `dump` is its
inverse.  A config that code makes is held against the same types and rules,
since every config is a `Checked`.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

from common.config.ranges import one_of, shown
from common.errors import ConfigError, MissingKeyError, nearest
from common.paths import is_utf8

T = TypeVar("T")
_MOST_LEVELS = 32
_SCALARS = (str, int, float, bool)
_MOST_BITS = 63
"""Of an integer and its sign: TOML promises no more, and databases and arrays hold no more."""


class Checked:
    """Base of config dataclasses: one with a value that cannot be used is never made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, hint in hints_of(type(self)).items():  # type: ignore[arg-type]
            _value(hint, getattr(self, name), name)
        self.check()

    def check(self) -> None:
        """Checks what can't be said of one field alone; raises ConfigError."""


def parse(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Builds the dataclass `cls` from `data`.

    Args:
      cls: a dataclass; nested dataclasses are read from nested tables.
      data: keys are field names.
      where: dotted prefix for error messages, such as "train.".

    Raises:
      ConfigError: for an unknown key, a value of the wrong type or outside
        its range, or a missing key (then it is a `MissingKeyError`).
    """
    if not isinstance(data, Mapping):
        key = where.rstrip(".") or "the config"
        raise ConfigError(f"{key}: expected a table, got {shown(data)}.")
    hints = hints_of(cls)  # type: ignore[arg-type]
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ConfigError(f"Unknown config key {where}{key}.{nearest(key, fields)}")
    values = {k: _value(hints[k], v, f"{where}{k}") for k, v in data.items()}
    missing = [
        f"{where}{n}"
        for n, f in fields.items()
        if n not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise MissingKeyError(f"Missing config key{'s' * (len(missing) > 1)} {', '.join(missing)}.")
    try:
        return cls(**values)
    except ConfigError as e:
        raise ConfigError(f"{where}{e}") from None


def dump(config: Any) -> Any:
    """The plain JSON/TOML form of a config; `parse` reads it back."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: dump(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {k: dump(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [dump(v) for v in config]
    return config


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields, with the rules in them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _value(args[0], value, where)
        for rule in args[1:]:
            rule.check(value, where)
        return value
    if origin in (Union, types.UnionType):
        return _one_of(args, value, where)
    if origin is Literal:
        one_of(args).check(value, where)
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, where + ".")  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}.")
        hints = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(value) != len(hints):
            raise ConfigError(f"{where}: expected {len(hints)} values, got {shown(value)}.")
        return tuple(
            _value(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {shown(value)}.")
        if _plain_type(args[1]) in _SCALARS:
            value = dict(_dotted(value))
        return {
            _value(args[0], k, where): _value(args[1], v, f"{where}.{k}") for k, v in value.items()
        }
    if hint is Any:
        _check_plain(value, where)
        return value
    return _scalar(hint, value, where)


def _one_of(options: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first type that takes it."""
    if value is None and type(None) in options:
        return None
    errors = {}
    for option in options:
        if option is type(None):
            continue
        try:
            return _value(option, value, where)
        except ConfigError as e:
            plain = _plain_type(option)
            errors[typing.get_origin(plain) or plain] = e
    # The option that the value was meant for has the most to say.
    is_list = isinstance(value, list | tuple)
    meant = dict if isinstance(value, Mapping) else tuple if is_list else type(value)
    raise errors.get(meant) or next(iter(errors.values()))


def _plain_type(hint: Any) -> Any:
    """Returns a type without the rules in it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _dotted(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields what stands in a table that holds no tables: TOML parts a name at its dots.

    A shell takes the quotes off `class_weights."st.bernard"`, and only the one name can be meant.
    """
    waiting = [*table.items()][::-1]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [(f"{name}.{rest}", v) for rest, v in [*value.items()][::-1]]
        else:
            yield name, value


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: expected float, got {shown(value)}.") from None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {shown(value)}.")
    if isinstance(value, str) and not is_utf8(value):
        raise ConfigError(f"{where}: expected text in UTF-8, got {value!r}.")  # of a command line
    _check_size(value, where)
    return value


def _check_size(value: Any, where: str) -> None:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ConfigError(
            f"{where}: expected an integer of at most {_MOST_BITS} bits, got {shown(value)}."
        )


def _check_plain(value: Any, where: str) -> None:
    """Refuses what could not be written as JSON, and read back."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        for each in level:
            _check_size(each, where)
            if not isinstance(each, str | int | float | list | tuple | Mapping | None):
                raise ConfigError(
                    f"{where}: expected texts, numbers, lists and tables, got {shown(each)}."
                )
        level = [inside for each in level for inside in _inside(each)]
        if not level:
            return
    raise ConfigError(
        f"{where}: expected lists and tables at most {_MOST_LEVELS} deep, got {shown(value)}."
    )


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
