"""What commands print: for a terminal, or plain for a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def is_terminal() -> bool:
    """Whether stdout is one, as rich sees it; without loading rich for a plain pipe."""
    forced = (os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return (sys.stdout.isatty() or any(forced)) and console().is_terminal


def complain(message: str) -> None:
    """An error, on stderr."""
    console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True, style="red")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for a terminal; tab-separated lines for a pipe."""
    if not is_terminal():
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column, overflow="fold")
    for row in rows:
        found.add_row(*map(Text, row))
    console().print(found)


def facts(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """A heading and what is known below it; tab-separated lines for a pipe."""
    if not is_terminal():
        for key, value in pairs:
            typer.echo("\t".join((title, key, value.replace("\n", " "))))
        return
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    terminal.print(Text(title, style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in pairs:
        grid.add_row(key, Text(value))
    terminal.print(grid)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
