"""How lineage's facts are written for people."""

from __future__ import annotations

from typing import Any

import typer

from lineage.graph.versions import LATENCY_OF
from pipeline.terminal import NOT_RECORDED, is_terminal

NONE = "-"
"""In a table, where there is no room for NOT_RECORDED."""
_SHORT = 12


def known(value: Any) -> str:
    return NOT_RECORDED if value is None else str(value)


def cell(value: Any) -> str:
    return NONE if value is None else str(value)


def serving(state: str | None) -> str:
    """Whether a version is in its serving folder, in a table."""
    return "not known" if state is None else state


def moment(when: str) -> str:
    """A time: ISO 8601 as recorded for a pipe, as short as it can be for a terminal."""
    return when.replace("T", " ").replace("+00:00", "Z") if is_terminal() else when


def short(digest: str | None) -> str:
    """A digest or commit: all of it for a pipe, what tells it from others for a terminal."""
    if digest is None:
        return NONE
    return digest[:_SHORT] if is_terminal() else digest


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if value < 99.95:
        return f"{value:.1f} s" if value >= 0.095 else f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def share(value: float | None) -> str:
    """An accuracy, or another number of four decimals."""
    return NONE if value is None else f"{value:.4f}"


def change(value: float | None) -> str:
    return NONE if value is None else f"{value:+.4f}"


def milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} ms"


def latency(value: float | None, of: str | None) -> str:
    """Of one image, and how it was measured: over gRPC by a server, or ONNX Runtime alone."""
    if value is None:
        return NONE
    return f"{milliseconds(value)} {LATENCY_OF.get(of or '', '')}".rstrip()


def size(count: int | None) -> str:
    """Bytes."""
    if count is None:
        return NOT_RECORDED
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested table as dotted keys and values, sorted."""
    found: list[tuple[str, str]] = []
    for key, value in sorted(table.items()):
        if isinstance(value, dict) and value:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "none" if value is None else str(value)))
    return found


def say_more(shown: int, there: int) -> None:
    """Says on stderr how many versions a list leaves out."""
    if shown < there:
        typer.echo(f"{there - shown:,} older ones are not shown; see --limit.", err=True)
