"""Command-line options that stand for keys of a config.

A command names its flags and their keys once; the type and the help of each option are those
of the config's field, so that flag, key, help and docs cannot differ.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

import typer

from common.config.docstrings import docstrings, in_words

T = TypeVar("T")
Decorator = Callable[[Callable[..., T]], Callable[..., T]]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set any key of the config: KEY=VALUE, in TOML. Repeatable."),
]
"""Read by `common.config.toml_file.settings`."""
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Read this TOML file; flags override it.")
]
_PLAIN = (str, int, float, bool)


def config_flags(
    config: type, flags: Mapping[str, str], *, defaults: bool = True
) -> Decorator[None]:
    """Makes a decorator that gives a command an option for each flag.

    The options stand where the command has its parameter `overrides`, which gets the values
    that were given, by dotted key.

    Args:
      config: the dataclass at the top of the config.
      flags: dotted keys by parameter, such as {"batch_size": "train.batch_size"}.
      defaults: whether help shows those of the config's fields.
    """

    def overrides(values: Mapping[str, Any]) -> dict[str, Any]:
        return {flags[flag]: v for flag, v in values.items() if v is not None and v != []}

    return expanded("overrides", list(_options(config, flags, defaults)), overrides)


def expanded(
    name: str, options: Sequence[Parameter], make: Callable[[Mapping[str, Any]], Any]
) -> Decorator[None]:
    """Makes a decorator that replaces a command's parameter by several options.

    Args:
      make: makes the parameter's value from those of the options, by name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def decorated(*positional: Any, **named: Any) -> None:
            values = {p.name: named.pop(p.name, p.default) for p in options}
            command(*positional, **{name: make(values)}, **named)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [q for p in own for q in (options if p.name == name else [p])]
        # Typer takes what it asks from these, and finds them evaluated.
        decorated.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [p.replace(kind=Parameter.KEYWORD_ONLY) for p in parameters]
        )
        decorated.__annotations__ = {}
        return decorated

    return decorate


def _options(config: type, flags: Mapping[str, str], defaults: bool) -> Iterator[Parameter]:
    for flag, key in flags.items():
        table, field, hint = _field(config, key)
        kind, choices = _option_type(hint)
        help_ = in_words(docstrings(table)[field.name])
        if defaults and isinstance(field.default, _PLAIN):
            help_ += f"  [default: {field.default}]"
        option = typer.Option(
            "--" + flag.replace("_", "-"),
            metavar=f"<{'|'.join(choices)}>" if choices else None,
            autocompletion=_completion(choices),
            help=help_,
        )
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        yield Parameter(flag, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _field(config: type, key: str) -> tuple[type, dataclasses.Field[Any], Any]:
    """Returns the dataclass that has a key, the field there, and its type."""
    *tables, name = key.split(".")
    for table in tables:
        config = typing.get_type_hints(config)[table]
    (field,) = (f for f in dataclasses.fields(config) if f.name == name)
    return config, field, typing.get_type_hints(config)[name]


def _option_type(hint: Any) -> tuple[Any, tuple[str, ...]]:
    """Returns the type of the option for a field's, and what it may be, where that is listed."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return _option_type(kinds[0]) if len(kinds) == 1 else (str, ())
    if typing.get_origin(hint) is Literal:
        return str, typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return list[typing.get_args(hint)[0]], ()  # type: ignore[misc]
    assert hint in _PLAIN, f"expected a type that an option can have, got {hint}"
    return hint, ()


def _completion(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Makes what completes the begin of a choice, for the shell."""
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]
