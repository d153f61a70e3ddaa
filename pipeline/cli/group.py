"""A group of commands that imports a command's module when the command is used."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from common.errors import ConfigError


class Group(TyperGroup):
    """Knows its commands as data, so that its own help appears at once.

    Typer hands every value that is not a bool to pydantic, whose import takes longer than all
    else that help needs; so a group's options are False, and not None, unless they are given.
    """

    places: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """By name: where the command or group is, as `module:attribute`, and a line of help."""
    moved: ClassVar[Mapping[str, str]] = {}
    """What commands of former releases are called now."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        lines = {name: line for name, (_, line) in self.places.items()}
        self.commands = {name: TyperCommand(name, help=line) for name, line in lines.items()}

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)
        for param in params:
            param.default = param.default or False
        return params

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Finds the command that is called, or completed, and imports it."""
        if args[0] in self.moved and not ctx.resilient_parsing:
            raise ConfigError(f"`visionline {args[0]}` is now `visionline {self.moved[args[0]]}`.")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(args[0], self.places[args[0]][0]), rest


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    if isinstance(command, type):
        help_ = inspect.getdoc(command)
        return command(name=name, help=help_, no_args_is_help=True, rich_markup_mode=None)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(command)
    return get_command(alone)
