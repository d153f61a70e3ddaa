"""`visionline ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from lineage.store.locate import locate
from pipeline.cli.options import MetadataOption, OutputOption
from pipeline.terminal import complain
from pipeline.ui.server import is_loopback, serve


def ui(
    output: OutputOption = None,
    metadata: MetadataOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Listen on this port; 0 takes a free one.")
    ] = 0,
    host: Annotated[
        str,
        typer.Option(help="Listen on this address; if it is not local, other machines can read."),
    ] = "127.0.0.1",
) -> None:
    """Show runs, models and lineage in a browser; read-only."""
    connection = locate(output, metadata)
    if not is_loopback(host):
        complain(
            f"Warning: whoever reaches {host} can read the page: names, paths, configs and "
            "errors, without a password."
        )

    def announce(address: str) -> None:
        typer.echo(f"{address}  (the lineage in {connection}; Ctrl-C ends it)")

    serve(connection, host, port, announce)
