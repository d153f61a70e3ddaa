"""`visionline schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import OutputOption
from pipeline.cli.places import output_folder
from pipeline.schemas import freeze_schema, latest_schema, show_schema
from pipeline.terminal import console


def schema(
    output: OutputOption = None,
    freeze: Annotated[
        Path | None, typer.Option(help="Write the schema to this file, for --schema.")
    ] = None,
) -> None:
    """Show what the data looks like, or freeze it so that later data must match."""
    uri = latest_schema(output_folder(output))
    if freeze is None:
        show_schema(uri, console())
    else:
        freeze_schema(uri, freeze)
        typer.echo(f"Schema written to {freeze}. Use it with: visionline run --schema {freeze} …")
