"""Typed dataclasses from untyped data (TOML, JSON), refusing what is unknown.

`parse` is the one way a config enters the program: unknown keys are refused
with the nearest known one named, and every value is checked against its
field's type.  `dump` is its inverse.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from common.errors import ConfigError, MissingKeyError, nearest
from common.paths import is_utf8

T = TypeVar("T")


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
        raise ConfigError(f"{where.rstrip('.') or 'the config'}: expected a table, got {data!r}.")
    hints = typing.get_type_hints(cls)
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


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        errors = {}
        for option in options:
            if option is type(None):
                continue
            try:
                return _value(option, value, where)
            except ConfigError as e:
                errors[typing.get_origin(option) or option] = e
        # The option that the value was meant for has the most to say.
        is_list = isinstance(value, list | tuple)
        meant = dict if isinstance(value, Mapping) else tuple if is_list else None
        raise errors.get(meant) or next(iter(errors.values()))
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(
                f"{where}: expected one of {', '.join(map(repr, choices))}, got {value!r}."
                + (nearest(value, choices) if isinstance(value, str) else "")
            )
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else parse(hint, value, where + ".")  # type: ignore[arg-type]
    if origin is tuple:
        args = typing.get_args(hint)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}.")
        if args[-1] is Ellipsis:
            return tuple(_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            raise ConfigError(f"{where}: expected {len(args)} values, got {value!r}.")
        return tuple(
            _value(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True))
        )
    if origin is dict:
        key_hint, value_hint = typing.get_args(hint)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {value!r}.")
        return {
            _value(key_hint, k, f"{where} key"): _value(value_hint, v, f"{where}.{k}")
            for k, v in value.items()
        }
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}.")
    if isinstance(value, str) and not is_utf8(value):
        raise ConfigError(f"{where}: expected text in UTF-8, got {value!r}.")  # of a command line
    return value
