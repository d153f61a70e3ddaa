"""`visionline lineage history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.formats import cell, change, duration, share
from lineage.graph.measured import headline_of
from lineage.graph.versions import VersionRecord
from lineage.questions.history import History
from lineage.questions.history import history as ask
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import LimitOption, NameArgument
from pipeline.cli.words import latency, moment, say_more, serving, short
from pipeline.terminal import table


@asks
def history(
    name: NameArgument,
    limit: LimitOption = 100,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw it into this PNG file.")
    ] = None,
    *,
    store: Store,
) -> None:
    """List a model's versions over time: accuracy, latency, and how each was made."""
    with store.open(name) as reader:
        answer = ask(reader, name, limit)
    if picture is not None:
        from pipeline.pictures import draw_history  # and with it, Matplotlib

        draw_history(answer, picture)
    store.answer("history", answer, _show)


def _show(answer: History) -> None:
    before: list[VersionRecord | None] = [None, *answer.versions[:-1]]
    title = headline_of(answer.versions)
    table(
        (
            *("version", "pushed", "framework", "model", title, "change", "baseline"),
            *("latency", "change", "epochs", "training", "data", "serving", "run"),
        ),
        [_history_row(v, b) for v, b in zip(answer.versions, before, strict=True)],
        optional=(
            *("baseline", "run", "epochs", "training", "data", "model", "pushed", "framework"),
            "serving",
        ),
    )
    say_more(len(answer.versions), answer.pushed)


def _history_row(v: VersionRecord, before: VersionRecord | None) -> tuple[str, ...]:
    # What was measured in another way does not compare.
    comparable = before is not None and before.latency_of == v.latency_of
    return (
        cell(v.version),
        moment(v.pushed),
        cell(v.framework),
        cell(v.architecture),
        cell(v.headline_value, share),
        cell(_difference(v.headline_value, before.headline_value if before else None), change),
        cell(v.baseline_value, share),
        latency(v.latency_ms, v.latency_of),
        _percent(v.latency_ms, before.latency_ms if before and comparable else None),
        cell(v.epochs),
        cell(v.seconds, duration),
        short(v.data_digest),
        serving(v.serving),
        cell(v.run_id),
    )


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _percent(now: float | None, before: float | None) -> str:
    difference = _difference(now, before)
    return cell(None) if difference is None or not before else f"{difference / before:+.0%}"
