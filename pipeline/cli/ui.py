"""`visionline ui`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.lineage.group import MetadataOption, OutputOption
from pipeline.terminal import complain


def ui(
    output: OutputOption = None,
    metadata: MetadataOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="By default a free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other machines can read what is not local.")
    ] = "127.0.0.1",
) -> None:
    """Show runs, models and lineage in a browser; read-only."""
    from lineage.store.locate import locate
    from pipeline.ui.server import is_loopback, serve

    connection = locate(output, metadata)
    if not is_loopback(host):
        complain(
            f"Warning: whoever reaches {host} can read the page: names, paths, configs and "
            "errors, without a password."
        )

    def announce(address: str) -> None:
        typer.echo(f"{address}  (the lineage in {connection}; Ctrl-C ends it)")

    serve(connection, host, port, announce)
