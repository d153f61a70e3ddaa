"""`visionline lineage runs`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Exit
from common.formats import cell, duration, share
from lineage.graph.measured import headline_of
from lineage.questions.runs import RunList, RunSummary, list_runs
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import LimitOption
from pipeline.terminal import is_terminal, table

_OPTIONAL = ("started", "who", "cached", "pipeline", "model")
"""Columns of `runs` that a narrow terminal does without, these first."""


@asks
def runs(
    limit: LimitOption = 20,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Show only runs of this pipeline.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="Show only these: running, complete, failed, cancelled or unknown.",
        ),
    ] = None,
    *,
    store: Store,
) -> None:
    """List the latest runs: what they made, and how they went."""
    with store.open() as reader:
        answer = list_runs(reader, limit, pipeline, state)
    store.answer("runs", answer, _show_runs)
    if not answer.runs:
        if not store.as_json:
            typer.echo("No such runs." if pipeline or state else "No runs yet.", err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


def _show_runs(answer: RunList) -> None:
    if not answer.runs:
        return
    title = headline_of(answer.runs)
    rows = [_run_row(r, title) for r in answer.runs]
    columns = list(rows[0])
    if is_terminal() and len({r.pipeline for r in answer.runs}) == 1:
        columns.remove("pipeline")
    optional = [c for c in _OPTIONAL if c in columns]
    table(columns, [[row[c] for c in columns] for row in rows], optional)


def _run_row(r: RunSummary, title: str) -> dict[str, str]:
    """What is shown of a run, by column."""
    model = " ".join(filter(None, (r.framework, r.model)))
    return {
        "run": r.run_id,
        "pipeline": r.pipeline or "-",
        "state": r.state,
        "started": r.started,
        "time": cell(r.duration_seconds, duration),
        "model": model or "-",
        title: cell(r.headline_value, share),
        "pushed": _pushed(r),
        "cached": f"{r.cached} of {r.cached + r.executed}",
        "who": r.user or "-",
    }


def _pushed(r: RunSummary) -> str:
    if r.pushed is not None:
        return f"({r.pushed})" if r.pushed_before else r.pushed
    return "not blessed" if r.blessed is False else "-"
