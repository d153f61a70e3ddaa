"""`visionline models`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Exit
from pipeline.catalog import list_models
from pipeline.cli.options import JsonOption
from pipeline.terminal import print_json, table


def models(
    pattern: Annotated[str, typer.Argument(help="List only names that contain this.")] = "",
    framework: Annotated[
        str | None, typer.Option(help="List only those of keras, or of pytorch.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models by name, with parameter counts for the small ones."""
    rows = list_models(pattern, framework)
    if as_json:
        print_json(rows)
    else:
        table(
            ("framework", "model", "parameters"),
            [(m["framework"], m["model"], _millions(m["parameters"])) for m in rows],
        )
    if not rows:
        raise typer.Exit(Exit.NOTHING_FOUND)


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,}"
