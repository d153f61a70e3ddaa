"""`visionline lineage import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lineage.exchange.load import Imported, load
from lineage.store.locate import locate
from pipeline.cli.lineage.asking import Store, asks
from pipeline.terminal import table


@asks
def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Name the file that `export --format json` wrote."),
    ],
    *,
    store: Store,
) -> None:
    """Bring what was exported as JSON into a store, new or not."""
    done = load(file, locate(store.output, store.metadata))
    store.answer("import", done, _show)


def _show(done: Imported) -> None:
    counts = {
        "contexts": done.contexts,
        "artifacts": done.artifacts,
        "executions": done.executions,
        "events": done.events,
    }
    typer.echo(f"{'Made' if done.created else 'Into'} {done.store}")
    table(
        ("what", "added", "updated", "there already"),
        [(k, str(c.added), str(c.updated), str(c.shared)) for k, c in counts.items()],
    )
