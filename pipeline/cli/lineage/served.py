"""`visionline lineage served`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Exit
from common.formats import cell, share
from lineage.graph.measured import headline_of
from lineage.graph.versions import VersionRecord
from lineage.questions.model import model_lineage
from lineage.questions.served import ServedList
from lineage.questions.served import served as ask
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.model_view import heading, show_model
from pipeline.cli.options import LimitOption, OptionalNameArgument
from pipeline.cli.words import moment, say_more, serving, short
from pipeline.terminal import table


@asks
def served(
    name: OptionalNameArgument = None,
    removed: Annotated[
        bool, typer.Option("--all", help="Show also what is no longer in its serving folder.")
    ] = False,
    limit: LimitOption = 100,
    *,
    store: Store,
) -> None:
    """Show what is in serving now; of one model, also what produced it."""
    with store.open(name) as reader:
        answer = ask(reader, name, removed=removed, limit=limit)
        latest = next((v for v in answer.versions if v.serving == "latest"), None)
        one = latest if name is not None and not store.as_json else None
        lineage = model_lineage(reader, str(one.artifact_id)) if one else None
    store.answer("served", answer, _show)
    if lineage is not None:
        heading("")
        show_model(lineage)
    if not answer.versions:
        if not store.as_json:
            typer.echo(_nothing_served(answer.pushed), err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


def _show(answer: ServedList) -> None:
    if answer.versions:
        title = headline_of(answer.versions)
        table(
            (
                *("name", "version", "serving", "framework", "model", title, "pushed"),
                *("data", "span", "run", "who", "place"),
            ),
            [_served_row(v) for v in answer.versions],
            optional=("place", "who", "span", "run", "data", "framework", "model", "pushed"),
        )
        say_more(len(answer.versions), answer.found)


def _served_row(v: VersionRecord) -> tuple[str, ...]:
    return (
        v.name,
        cell(v.version),
        serving(v.serving),
        cell(v.framework),
        cell(v.architecture),
        cell(v.headline_value, share),
        moment(v.pushed),
        short(v.data_digest),
        cell(v.data_span),
        cell(v.run_id),
        cell(v.user),
        v.destination,
    )


def _nothing_served(pushed: int) -> str:
    if not pushed:
        return "Nothing was pushed yet."
    return f"Nothing is in serving now; {pushed:,} pushed before were removed (--all lists them)."
