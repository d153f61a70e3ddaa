"""What commands print: for a terminal, or plain for a pipe."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from common.formats import NOT_RECORDED
from common.process.endings import leave_dead_outputs

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            """Ends as a process does that SIGPIPE ends: `visionline … | head`."""
            leave_dead_outputs()
            raise SystemExit(128 + signal.SIGPIPE)

    return Piped(stderr=stderr)


def is_terminal() -> bool:
    """Returns whether stdout is one, as rich sees it; without loading rich for a plain pipe."""
    forced = (os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return (sys.stdout.isatty() or any(forced)) and console().is_terminal


def sayer(terminal: Console) -> Callable[..., None]:
    """Returns what prints a text as it is, in a style."""

    def say(text: str, style: str = "") -> None:
        terminal.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    return say


def complain(message: str) -> None:
    """Prints an error on stderr."""
    sayer(console(stderr=True))(message, "red")


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str] = ()
) -> None:
    """Prints a table for a terminal; tab-separated lines for a pipe.

    Args:
      optional: columns that a narrow terminal does not get, the most dispensable first.
    """
    if not is_terminal():
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    columns, rows = _fitting(columns, rows, optional, terminal.width)
    grid = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    terminal.print(grid)


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], optional: Sequence[str], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    from rich.cells import cell_len

    lines = (columns, *rows)
    widths = [max(cell_len(line[i]) for line in lines) + 2 for i in range(len(columns))]
    kept = list(range(len(columns)))
    for name in optional:
        if sum(widths[i] for i in kept) <= width:
            break
        kept.remove(columns.index(name))
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]


def facts(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Prints a heading and what is known below it; tab-separated lines for a pipe."""
    sections([(title, pairs)])


def sections(parts: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> None:
    """Prints several headings with what is known below each, aligned; see `facts`."""
    if not is_terminal():
        for title, pairs in parts:
            for key, value in pairs:
                typer.echo("\t".join((title, key, value.replace("\n", " "))))
        return
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    terminal = console()
    width = max((cell_len(key) for _, pairs in parts for key, _ in pairs), default=0)
    for index, (title, pairs) in enumerate(parts):
        if index:
            terminal.print()
        terminal.print(Text(title, style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 2))
        grid.add_column(style="dim", no_wrap=True, min_width=width)
        grid.add_column(overflow="fold")
        for key, value in pairs:
            style = "dim" if value == NOT_RECORDED else ""
            grid.add_row(Text(key), Text(value, style=style))
        terminal.print(grid)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar on stderr, if that is a terminal; a total of 0 is one that is not known."""
    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield lambda what, done, total: None
        return
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=escape(what), completed=done, total=total or None
        )
