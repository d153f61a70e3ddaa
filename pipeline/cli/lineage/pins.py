"""`visionline lineage pin`, `unpin` and `pins`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import typer

from common.errors import Exit
from lineage.graph import marks
from lineage.graph.refs import find_model
from lineage.storage import marking
from lineage.store.connection import Connection
from lineage.store.locate import locate
from lineage.store.opening import open_reader
from lineage.store.records import Artifact
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import MetadataOption, OutputOption, ReasonOption, RefArgument
from pipeline.terminal import table


def pin(
    ref: RefArgument,
    reason: ReasonOption = "",
    output: OutputOption = None,
    metadata: MetadataOption = None,
) -> None:
    """Keep a model, and what it was made from, from being removed by gc."""
    connection, model = _model(output, metadata, ref)
    marking.pin(connection, model, reason)
    typer.echo(f"Pinned model {model.id}, {model.uri}.")


def unpin(ref: RefArgument, output: OutputOption = None, metadata: MetadataOption = None) -> None:
    """Take a model's pin away."""
    connection, model = _model(output, metadata, ref)
    marking.unpin(connection, model)
    typer.echo(f"Model {model.id}, {model.uri}, is no longer pinned.")


@asks
def pins(store: Store) -> None:
    """List pinned models."""
    with store.open() as reader:
        answer = marks.pins(reader)
    store.answer("pins", answer, _show)
    if not answer.pins:
        raise typer.Exit(Exit.NOTHING_FOUND)


def _show(answer: marks.Pins) -> None:
    if answer.pins:
        columns = ("model", "who", "when", "reason", "files")
        rows = [(str(p.model_id), p.who, p.when, p.reason, p.uri) for p in answer.pins]
        table(columns, [[cell or "" for cell in row] for row in rows])
    else:
        typer.echo("No model is pinned.")


def _model(output: Path | None, metadata: str | None, ref: str) -> tuple[Connection, Artifact]:
    """The model that `ref` means, and its store, which is not open any more."""
    connection = locate(output, metadata, ref)
    with closing(open_reader(connection)) as reader:
        return connection, find_model(reader, ref)
