"""A group of commands whose help appears at once."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """Typer hands every value that is not a bool to pydantic, whose import takes longer
    than all else that help needs; so --help is False, and not None, unless it is given.
    """

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option
