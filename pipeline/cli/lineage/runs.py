"""`lineage runs`, `lineage run` and `lineage explain-cache`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import Exit
from common.formats import NOT_RECORDED, cell, duration, known, share, short
from pipeline.cli.lineage.group import (
    JsonOption,
    MetadataOption,
    OutputOption,
    RefArgument,
    answer_json,
    app,
    asking,
)

if TYPE_CHECKING:
    from lineage.cache.explain import CacheExplanation
    from lineage.questions.run_detail import RunDetail, RunStep
    from lineage.questions.runs import RunList, RunSummary

_BAR = 20
"""Characters of the longest bar."""
_OPTIONAL = ("started", "who", "cached", "pipeline", "model")
"""Columns of `runs` that a narrow terminal does without, these first."""
_BAR_WIDTH = 90
"""A narrower terminal does without bars."""
_UNKNOWN = "unknown: it was imported from a record of before it ended"


@app.command()
def runs(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Only runs of this pipeline.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", help="Only these: running, complete, failed, cancelled or unknown."
        ),
    ] = None,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """The latest runs: what they made, and how they went."""
    from lineage.questions.runs import list_runs

    with asking(output, metadata) as reader:
        found = list_runs(reader, limit, pipeline, state)
    if as_json:
        answer_json("runs", found)
    elif found.runs:
        _show_runs(found)
    if not found.runs:
        if not as_json:
            typer.echo("No such runs." if pipeline or state else "No runs yet.", err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


@app.command()
def run(
    ref: RefArgument,
    resolvers: Annotated[
        bool, typer.Option("--resolvers", help="Also what only looked something up.")
    ] = False,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What one run did: each component, its time, and what it took from the cache."""
    from lineage.questions.run_detail import run_detail

    with asking(output, metadata, ref) as reader:
        found = run_detail(reader, ref, resolvers=resolvers)
    if as_json:
        answer_json("run", found)
    else:
        _show_run(found)


@app.command("explain-cache")
def explain_cache(
    ref: RefArgument,
    component: Annotated[str, typer.Argument(help="A component of the run, such as Trainer.")],
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why a component of a run was taken from the cache, or was not."""
    from lineage.cache.explain import explain_cache as explain

    with asking(output, metadata, ref) as reader:
        found = explain(reader, ref, component)
    if as_json:
        answer_json("explain-cache", found)
    else:
        _show_explanation(found)


def _show_runs(found: RunList) -> None:
    from pipeline.terminal import is_terminal, table

    rows = [_run_row(r) for r in found.runs]
    columns = list(rows[0])
    if is_terminal() and len({r.pipeline for r in found.runs}) == 1:
        columns.remove("pipeline")
    optional = [c for c in _OPTIONAL if c in columns]
    table(columns, [[row[c] for c in columns] for row in rows], optional)


def _run_row(r: RunSummary) -> dict[str, str]:
    """What is shown of a run, by column."""
    model = " ".join(filter(None, (r.framework, r.model)))
    return {
        "run": r.run_id,
        "pipeline": r.pipeline or "-",
        "state": r.state,
        "started": r.started,
        "time": cell(r.duration_seconds, duration),
        "model": model or "-",
        "accuracy": cell(r.accuracy, share),
        "pushed": _pushed(r),
        "cached": f"{r.cached} of {r.cached + r.executed}",
        "who": r.user or "-",
    }


def _pushed(r: RunSummary) -> str:
    if r.pushed is not None:
        return f"({r.pushed})" if r.pushed_before else r.pushed
    return "not blessed" if r.blessed is False else "-"


def _show_run(found: RunDetail) -> None:
    from pipeline.terminal import console, facts, is_terminal, table

    run = found.run
    commit = run.git_commit and short(run.git_commit) + (" (dirty)" if run.git_dirty else "")
    values = [
        ("state", _UNKNOWN if run.state == "unknown" else run.state),
        ("pipeline", run.pipeline),
        ("started", run.started),
        ("time", known(run.duration_seconds, duration)),
        ("model", " ".join(filter(None, (run.framework, run.model)))),
        ("data", run.dataset_digest and short(run.dataset_digest)),
        ("commit", commit),
        ("who", run.user and (f"{run.user} on {run.host}" if run.host else run.user)),
    ]
    pairs = [(k, v or NOT_RECORDED) for k, v in values]
    if run.error:
        pairs.insert(1, ("error", run.error))
    facts(f"run {run.run_id}", pairs)
    drawn = is_terminal() and console().width >= _BAR_WIDTH
    longest = max((s.duration_seconds or 0 for s in found.steps), default=0)
    rows = []
    for step in found.steps:
        row = [step.component, step.state.lower(), cell(step.duration_seconds, duration)]
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
    time = "" if saved is None else f" ({cell(saved, duration)})"
    return f"of {step.reused.run_id or 'a run that is ' + NOT_RECORDED}{time}"


def _show_explanation(found: CacheExplanation) -> None:
    from pipeline.terminal import console, facts, is_terminal

    if not is_terminal():
        typer.echo(f"{found.outcome}\t{found.summary}")
    else:
        console().print(found.summary, markup=False, highlight=False, style="bold")
    if len(found.chain) > 1:
        typer.echo("")
        for reason in found.chain:
            typer.echo(f"{'  ' * reason.depth}{reason.component}: {reason.text}")
        typer.echo("")
    if found.compared_with is not None:
        work = found.compared_with
        place = f"execution {work.execution_id} of run {work.run_id or NOT_RECORDED}"
        pairs = [("execution", str(found.execution_id)), ("compared with", place)]
        facts("nearest earlier execution", pairs)
    if found.outcome == "miss" and not found.exact:
        typer.echo(
            "The parts of its key were not recorded: only inputs and parameters were compared."
        )


def _bar(seconds: float | None, longest: float) -> str:
    if not seconds or not longest:
        return ""
    return "█" * max(1, round(_BAR * seconds / longest))
