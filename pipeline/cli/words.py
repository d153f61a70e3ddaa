"""How lineage's facts are written by commands: whole for a pipe, short for a terminal."""

from __future__ import annotations

import typer

from common import formats
from lineage.graph.versions import LATENCY_OF
from pipeline.terminal import is_terminal


def serving(state: str | None) -> str:
    """Whether a version is in its serving folder, in a table."""
    return formats.known(state, missing="not known")


def moment(when: str) -> str:
    """A time: ISO 8601 as recorded for a pipe, as short as it can be for a terminal."""
    return formats.moment(when) if is_terminal() else when


def short(digest: str | None) -> str:
    """A digest or commit: all of it for a pipe, what tells it from others for a terminal."""
    return formats.cell(digest, formats.short if is_terminal() else str)


def latency(value: float | None, of: str | None) -> str:
    """Of one image, and how it was measured: over gRPC by a server, or ONNX Runtime alone."""
    if value is None:
        return formats.NONE
    return f"{formats.milliseconds(value)} {LATENCY_OF.get(of or '', '')}".rstrip()


def say_more(shown: int, there: int) -> None:
    """Says on stderr how many versions a list leaves out."""
    if shown < there:
        typer.echo(f"{there - shown:,} older ones are not shown; see --limit.", err=True)
