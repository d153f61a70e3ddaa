"""`visionline lineage export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError, DataError, nearest
from common.files import atomic_file
from lineage.exchange.closure import closure
from lineage.exchange.dump import dump_of
from lineage.exchange.openlineage import events
from lineage.graph.refs import find_model
from lineage.store.reader import Reader
from pipeline.cli.lineage.asking import Store
from pipeline.cli.options import MetadataOption, OutputOption

FORMATS = ("json", "mermaid", "dot", "openlineage", "html")


def export_(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]",
            help="Name a model or run, as for the other commands; else all is written.",
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Write json, mermaid, dot, openlineage or html.")
    ] = "json",
    to: Annotated[
        Path | None, typer.Option("--to", help="Write this file, whole or not at all.")
    ] = None,
    *,
    output: OutputOption = None,
    metadata: MetadataOption = None,
) -> None:
    """Write lineage out: to keep or move it, to draw it, or for other tools."""
    if format_ not in FORMATS:
        raise ConfigError(f"--format: {format_!r} is not one.{nearest(format_, FORMATS)}")
    if ref is None and format_ in ("mermaid", "dot", "html"):
        raise ConfigError(f"--format {format_} draws one model: name it, such as NAME@VERSION.")
    with Store(output, metadata, as_json=True).open(ref) as reader:
        _write(_chunks(reader, ref, format_), to)


def _chunks(reader: Reader, ref: str | None, format_: str) -> Iterable[bytes]:
    if format_ == "json":
        return dump_of(reader, None if ref is None else closure(reader, ref), ref)
    if format_ == "openlineage":
        return events(reader, ref)
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
    try:
        with atomic_file(to) as f:
            for chunk in chunks:
                f.write(chunk)
    except OSError as e:
        raise DataError(f"Cannot write {to}: {e.strerror}.") from None
    typer.echo(f"Written to {to}.")
