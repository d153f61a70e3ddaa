"""`visionline lineage rollback-candidates`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from common.errors import Exit
from common.formats import cell, change, share
from lineage.graph.measured import headline_of
from lineage.questions.rollback_candidates import Candidate, Rollback
from lineage.questions.rollback_candidates import rollback_candidates as ask
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import LimitOption, NameArgument
from pipeline.cli.words import latency, moment, say_more, short
from pipeline.terminal import facts, table


@asks
def rollback_candidates(
    name: NameArgument,
    limit: LimitOption = 20,
    *,
    store: Store,
) -> None:
    """Show which older versions could serve instead, and which one `rollback` takes."""
    with store.open(name) as reader:
        answer = ask(reader, name, limit)
    store.answer("rollback-candidates", answer, _show_rollback)
    if answer.taken is None and not any(c.usable for c in answer.candidates):
        if not store.as_json:
            typer.echo(f"No version of {answer.name} can be rolled back to.", err=True)
        raise typer.Exit(Exit.NOTHING_FOUND)


def _show_rollback(answer: Rollback) -> None:
    now = answer.current
    if answer.served is None:
        served = "none: the folder holds no version"
    elif now is None:
        served = f"{answer.served}, which this store did not push"
    else:
        value = cell(now.headline_value, share)
        parts = [now.framework, now.architecture, f"{now.headline} {value}"]
        served = f"{answer.served} ({', '.join(filter(None, parts))})"
    takes = "none, unless one is named with --to" if answer.taken is None else str(answer.taken)
    if answer.taken in answer.strangers:
        takes += ", which this store did not push"
    facts(
        answer.name,
        [("folder", answer.folder), ("served now", served), ("rollback takes", takes)],
    )
    title = headline_of(c.version for c in answer.candidates)
    usable = [c for c in answer.candidates if c.usable]
    if usable:
        table(
            (
                *("version", "pushed", "framework", "model", title, "against now"),
                *("classes", "but", "latency", "data"),
            ),
            [_candidate_row(c) for c in usable],
            optional=("data", "latency", "model", "pushed", "framework"),
        )
    others = [c for c in answer.candidates if not c.usable]
    if others or answer.strangers:
        reasons = [(str(c.version.version), "; ".join(c.why_not)) for c in others]
        reasons += [(str(v), "this store did not push it") for v in answer.strangers]
        facts("others", reasons)
    say_more(len(answer.candidates), answer.pushed)


def _candidate_row(c: Candidate) -> tuple[str, ...]:
    v = c.version
    return (
        cell(v.version),
        moment(v.pushed),
        cell(v.framework),
        cell(v.architecture),
        cell(v.headline_value, share),
        cell(c.headline_difference, change),
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
