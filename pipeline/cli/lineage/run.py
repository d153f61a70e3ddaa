"""`visionline lineage run`."""

from __future__ import annotations

from typing import Annotated

import typer

from lineage.questions.run_detail import RunDetail, RunStep, run_detail
from pipeline.cli.lineage.asking import answer_json, asking
from pipeline.cli.options import JsonOption, MetadataOption, OutputOption, RefArgument
from pipeline.cli.words import step_seconds
from pipeline.terminal import NOT_RECORDED, console, facts, is_terminal, table

_BAR = 20
"""Characters of the longest bar."""
_BAR_WIDTH = 90
"""A narrower terminal does without bars."""
_UNKNOWN = "unknown: it was imported from a record of before it ended"


def run(
    ref: RefArgument,
    resolvers: Annotated[
        bool, typer.Option("--resolvers", help="Show also what only looked something up.")
    ] = False,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what one run did: each component, its time, and what it took from the cache."""
    with asking(output, metadata, ref) as reader:
        found = run_detail(reader, ref, resolvers=resolvers)
    if as_json:
        answer_json("run", found)
    else:
        _show_run(found)


def _show_run(found: RunDetail) -> None:
    run = found.run
    commit = run.git_commit and run.git_commit[:12] + (" (dirty)" if run.git_dirty else "")
    known = [
        ("state", _UNKNOWN if run.state == "unknown" else run.state),
        ("pipeline", run.pipeline),
        ("started", run.started),
        ("time", None if run.duration_seconds is None else step_seconds(run.duration_seconds)),
        ("model", " ".join(filter(None, (run.framework, run.model)))),
        ("data", run.dataset_digest and run.dataset_digest[:12]),
        ("commit", commit),
        ("who", run.user and (f"{run.user} on {run.host}" if run.host else run.user)),
    ]
    pairs = [(k, v or NOT_RECORDED) for k, v in known]
    if run.error:
        pairs.insert(1, ("error", run.error))
    facts(f"run {run.run_id}", pairs)
    drawn = is_terminal() and console().width >= _BAR_WIDTH
    longest = max((s.duration_seconds or 0 for s in found.steps), default=0)
    rows = []
    for step in found.steps:
        row = [step.component, step.state.lower(), step_seconds(step.duration_seconds)]
        if drawn:
            row.append(_bar(step.duration_seconds, longest))
        rows.append([*row, _remark(step, run.error or "")])
    columns = ["component", "state", "time", *([""] if drawn else []), "remark"]
    table(columns, rows)


def _remark(step: RunStep, said: str) -> str:
    """What there is to say of a step, besides the error that was `said` already."""
    if step.error:
        return "see the error above" if step.error in said else " ".join(step.error.split())
    if step.state != "CACHED":
        return ""
    if step.reused is None:
        return f"who did the work is {NOT_RECORDED}"
    saved = step.reused.duration_seconds
    time = "" if saved is None else f" ({step_seconds(saved)})"
    return f"of {step.reused.run_id or 'a run that is ' + NOT_RECORDED}{time}"


def _bar(seconds: float | None, longest: float) -> str:
    if not seconds or not longest:
        return ""
    return "█" * max(1, round(_BAR * seconds / longest))
