"""`lineage export` and `lineage import`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import ConfigError, DataError, nearest
from pipeline.cli.lineage.group import (
    JsonOption,
    MetadataOption,
    OutputOption,
    answer_json,
    app,
    asking,
)

if TYPE_CHECKING:
    from lineage.exchange.load import Imported
    from lineage.store.reader import Reader

FORMATS = ("json", "mermaid", "dot", "openlineage", "html")


@app.command("export")
def export_(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]", help="A model or run, as for the other commands; else everything."
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="json, mermaid, dot, openlineage or html.")
    ] = "json",
    to: Annotated[
        Path | None, typer.Option("--to", help="A file, written whole or not at all.")
    ] = None,
    output: OutputOption = None,
    metadata: MetadataOption = None,
) -> None:
    """Write lineage out: to keep or move it, to draw it, or for other tools."""
    if format_ not in FORMATS:
        raise ConfigError(f"--format: {format_!r} is not one.{nearest(format_, FORMATS)}")
    if ref is None and format_ in ("mermaid", "dot", "html"):
        raise ConfigError(f"--format {format_} draws one model: name it, such as NAME@VERSION.")
    with asking(output, metadata, ref) as reader:
        _write(_chunks(reader, ref, format_), to)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of `export --format json`.")],
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring what was exported as JSON into a store, new or not."""
    from lineage.exchange.load import load
    from lineage.store.locate import locate

    done = load(file, locate(output, metadata))
    if as_json:
        answer_json("import", done)
    else:
        _show(done)


def _chunks(reader: Reader, ref: str | None, format_: str) -> Iterable[bytes]:
    if format_ == "json":
        from lineage.exchange.closure import closure
        from lineage.exchange.dump import dump_of

        return dump_of(reader, None if ref is None else closure(reader, ref), ref)
    if format_ == "openlineage":
        from lineage.exchange.openlineage import events

        return events(reader, ref)
    from lineage.graph.refs import find_model

    model = find_model(reader, str(ref))
    if format_ == "html":
        from pipeline.ui.rendering import model_file

        text = model_file(reader, model)
    else:
        from lineage.drawing import markup
        from lineage.drawing.depict import depict

        write = markup.dot if format_ == "dot" else markup.mermaid
        text = write(depict(reader, model))
    return [text.encode(errors="replace")]


def _write(chunks: Iterable[bytes], to: Path | None) -> None:
    if to is None:
        stream = typer.get_binary_stream("stdout")
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        return
    from common.files import atomic_file

    try:
        with atomic_file(to) as f:
            for chunk in chunks:
                f.write(chunk)
    except OSError as e:
        raise DataError(f"Cannot write {to}: {e.strerror}.") from None
    typer.echo(f"Written to {to}.")


def _show(done: Imported) -> None:
    from pipeline.terminal import table

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
