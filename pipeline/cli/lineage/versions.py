"""`lineage served`, `lineage history` and `lineage rollback-candidates`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import Exit
from common.formats import cell, change, duration, share
from pipeline.cli.lineage.group import (
    JsonOption,
    MetadataOption,
    NameArgument,
    OptionalNameArgument,
    OutputOption,
    answer_json,
    app,
    asking,
)
from pipeline.cli.words import latency, moment, serving, short
from pipeline.terminal import facts, table

if TYPE_CHECKING:
    from lineage.graph.versions import VersionRecord
    from lineage.questions.rollback_candidates import Candidate, Rollback

LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many at most, the newest.")]


@app.command()
def served(
    name: OptionalNameArgument = None,
    removed: Annotated[
        bool, typer.Option("--all", help="Also what is no longer in its serving folder.")
    ] = False,
    limit: LimitOption = 100,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is in serving now; of one model, also what produced it."""
    from lineage.questions.model import model_lineage
    from lineage.questions.served import served as ask
    from pipeline.cli.model_view import heading, show_model

    with asking(output, metadata, name) as reader:
        found = ask(reader, name, removed=removed, limit=limit)
        latest = next((v for v in found.versions if v.serving == "latest"), None)
        one = latest if name is not None and not as_json else None
        lineage = model_lineage(reader, str(one.artifact_id)) if one else None
    if as_json:
        answer_json("served", found)
    elif found.versions:
        table(
            (
                *("name", "version", "serving", "framework", "model", "accuracy", "pushed"),
                *("data", "span", "run", "who", "place"),
            ),
            [_served_row(v) for v in found.versions],
            optional=("place", "who", "span", "run", "data", "framework", "model", "pushed"),
        )
        _say_more(len(found.versions), found.found)
    if lineage is not None:
        heading("")
        show_model(lineage)
    if not found.versions:
        if not as_json:
            typer.echo(_nothing_served(found.pushed), err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


@app.command()
def history(
    name: NameArgument,
    limit: LimitOption = 100,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw it into this PNG file.")
    ] = None,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """A model's versions over time: accuracy, latency, and how each was made."""
    from lineage.questions.history import history as ask

    with asking(output, metadata, name) as reader:
        found = ask(reader, name, limit)
    if picture is not None:
        from pipeline.pictures import draw_history

        draw_history(found, picture)
    if as_json:
        answer_json("history", found)
        return
    before: list[VersionRecord | None] = [None, *found.versions[:-1]]
    table(
        (
            *("version", "pushed", "framework", "model", "accuracy", "change", "baseline"),
            *("latency", "change", "epochs", "training", "data", "serving", "run"),
        ),
        [_history_row(v, b) for v, b in zip(found.versions, before, strict=True)],
        optional=(
            *("baseline", "run", "epochs", "training", "data", "model", "pushed", "framework"),
            "serving",
        ),
    )
    _say_more(len(found.versions), found.pushed)


@app.command("rollback-candidates")
def rollback_candidates(
    name: NameArgument,
    limit: LimitOption = 20,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which older versions could serve instead, and which one `rollback` takes."""
    from lineage.questions.rollback_candidates import rollback_candidates as ask

    with asking(output, metadata, name) as reader:
        found = ask(reader, name, limit)
    if as_json:
        answer_json("rollback-candidates", found)
    else:
        _show_rollback(found)
    if found.taken is None and not any(c.usable for c in found.candidates):
        if not as_json:
            typer.echo(f"No version of {found.name} can be rolled back to.", err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


def _served_row(v: VersionRecord) -> tuple[str, ...]:
    return (
        v.name,
        cell(v.version),
        serving(v.serving),
        cell(v.framework),
        cell(v.architecture),
        cell(v.accuracy, share),
        moment(v.pushed),
        short(v.data_digest),
        cell(v.data_span),
        cell(v.run_id),
        cell(v.user),
        v.destination,
    )


def _history_row(v: VersionRecord, before: VersionRecord | None) -> tuple[str, ...]:
    return (
        cell(v.version),
        moment(v.pushed),
        cell(v.framework),
        cell(v.architecture),
        cell(v.accuracy, share),
        cell(_difference(v.accuracy, before.accuracy if before else None), change),
        cell(v.baseline_accuracy, share),
        latency(v.latency_ms, v.latency_of),
        _percent(v.latency_ms, _latency_before(v, before)),
        cell(v.epochs),
        cell(v.seconds, duration),
        short(v.data_digest),
        serving(v.serving),
        cell(v.run_id),
    )


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _latency_before(v: VersionRecord, before: VersionRecord | None) -> float | None:
    """The latency to compare with; what was measured in another way does not compare."""
    same = before is not None and before.latency_of == v.latency_of
    return before.latency_ms if before is not None and same else None


def _percent(now: float | None, before: float | None) -> str:
    difference = _difference(now, before)
    return cell(None) if difference is None or not before else f"{difference / before:+.0%}"


def _show_rollback(found: Rollback) -> None:
    now = found.current
    if found.served is None:
        served = "none: the folder holds no version"
    elif now is None:
        served = f"{found.served}, which this store did not push"
    else:
        parts = [now.framework, now.architecture, f"accuracy {cell(now.accuracy, share)}"]
        served = f"{found.served} ({', '.join(filter(None, parts))})"
    takes = "none, unless one is named with --to" if found.taken is None else str(found.taken)
    if found.taken in found.strangers:
        takes += ", which this store did not push"
    facts(
        found.name,
        [("folder", found.folder), ("served now", served), ("rollback takes", takes)],
    )
    usable = [c for c in found.candidates if c.usable]
    if usable:
        table(
            (
                *("version", "pushed", "framework", "model", "accuracy", "against now"),
                *("classes", "but", "latency", "data"),
            ),
            [_candidate_row(c) for c in usable],
            optional=("data", "latency", "model", "pushed", "framework"),
        )
    others = [c for c in found.candidates if not c.usable]
    if others or found.strangers:
        reasons = [(str(c.version.version), "; ".join(c.why_not)) for c in others]
        reasons += [(str(v), "this store did not push it") for v in found.strangers]
        facts("others", reasons)
    _say_more(len(found.candidates), found.pushed)


def _candidate_row(c: Candidate) -> tuple[str, ...]:
    v = c.version
    return (
        cell(v.version),
        moment(v.pushed),
        cell(v.framework),
        cell(v.architecture),
        cell(v.accuracy, share),
        cell(c.accuracy_difference, change),
        _classes(c.classes_added, c.classes_missing),
        "; ".join(c.cautions) or cell(None),
        latency(v.latency_ms, v.latency_of),
        short(v.data_digest),
    )


def _classes(added: Sequence[str] | None, missing: Sequence[str] | None) -> str:
    if added is None or missing is None:
        return cell(None)
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [f"also {', '.join(added)}"] if added else []
    return "; ".join(parts) or "the same"


def _say_more(shown: int, there: int) -> None:
    if shown < there:
        typer.echo(f"{there - shown:,} older ones are not shown; see --limit.", err=True)


def _nothing_served(pushed: int) -> str:
    if not pushed:
        return "Nothing was pushed yet."
    return f"Nothing is in serving now; {pushed:,} pushed before were removed (--all lists them)."
