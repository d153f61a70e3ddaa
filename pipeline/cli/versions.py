"""`visionline versions`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Exit
from pipeline.catalog import list_pushed, prune_pushed
from pipeline.cli.options import JsonOption, ServingOption
from pipeline.cli.places import serving_folder
from pipeline.terminal import complain, print_json, table


def versions(
    name: Annotated[str | None, typer.Argument(help="List only this model's.")] = None,
    prune: Annotated[
        int | None,
        typer.Option(min=1, help="First remove those older than the newest so many."),
    ] = None,
    serving: ServingOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was pushed, and whether its files are still whole."""
    folder = serving_folder(serving)
    for line in prune_pushed(folder, name, prune) if prune is not None else ():
        typer.echo(line, err=True)
    rows = list_pushed(folder, name)
    if as_json:
        print_json(rows)
    else:
        table(
            ("name", "version", "framework", "model", "pushed at", "files"),
            [
                (
                    v["name"],
                    str(v["version"]),
                    v["framework"],
                    v["architecture"],
                    v["pushed_at"],
                    "whole" if not v["damage"] else "; ".join(v["damage"]),
                )
                for v in rows
            ],
        )
    for v in rows:
        if v["writable"]:
            complain(f"Warning: {v['name']} version {v['version']}: {v['writable']}")
    if not rows:
        raise typer.Exit(Exit.NOTHING_FOUND)
