"""`visionline lineage run`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.formats import NOT_RECORDED, cell, duration
from lineage.questions.run_detail import RunDetail, RunStep, run_detail
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import RefArgument
from pipeline.terminal import console, facts, is_terminal, table

_BAR = 20
"""Characters of the longest bar."""
_BAR_WIDTH = 90
"""A narrower terminal does without bars."""
_UNKNOWN = "unknown: it was imported from a record of before it ended"


@asks
def run(
    ref: RefArgument,
    resolvers: Annotated[
        bool, typer.Option("--resolvers", help="Show also what only looked something up.")
    ] = False,
    *,
    store: Store,
) -> None:
    """Show what one run did: each component, its time, and what it took from the cache."""
    with store.open(ref) as reader:
        detail = run_detail(reader, ref, resolvers=resolvers)
    store.answer("run", detail, _show_run)


def _show_run(detail: RunDetail) -> None:
    run = detail.run
    commit = run.git_commit and run.git_commit[:12] + (" (dirty)" if run.git_dirty else "")
    values = [
        ("state", _UNKNOWN if run.state == "unknown" else run.state),
        ("pipeline", run.pipeline),
        ("started", run.started),
        ("time", None if run.duration_seconds is None else cell(run.duration_seconds, duration)),
        ("model", " ".join(filter(None, (run.framework, run.model)))),
        ("data", run.dataset_digest and run.dataset_digest[:12]),
        ("commit", commit),
        ("who", run.user and (f"{run.user} on {run.host}" if run.host else run.user)),
    ]
    pairs = [(k, v or NOT_RECORDED) for k, v in values]
    if run.error:
        pairs.insert(1, ("error", run.error))
    facts(f"run {run.run_id}", pairs)
    drawn = is_terminal() and console().width >= _BAR_WIDTH
    longest = max((s.duration_seconds or 0 for s in detail.steps), default=0)
    rows = []
    for step in detail.steps:
        row = [step.component, step.state.lower(), cell(step.duration_seconds, duration)]
        if drawn:
            row.append(_bar(step.duration_seconds, longest))
        rows.append([*row, _remark(step, run.error or "")])
    columns = ["component", "state", "time", *([""] if drawn else []), "remark"]
    table(columns, rows)


def _remark(step: RunStep, shown: str) -> str:
    """What there is to say of a step, besides the error that was `shown` already."""
    if step.error:
        return "see the error above" if step.error in shown else " ".join(step.error.split())
    if step.state != "CACHED":
        return ""
    if step.reused is None:
        return f"who did the work is {NOT_RECORDED}"
    saved = step.reused.duration_seconds
    time = "" if saved is None else f" ({cell(saved, duration)})"
    return f"of {step.reused.run_id or 'a run that is ' + NOT_RECORDED}{time}"


def _bar(time: float | None, longest: float) -> str:
    return "█" * max(1, round(_BAR * time / longest)) if time and longest else ""
