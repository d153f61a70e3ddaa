"""`visionline lineage diff`."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from lineage.images.index import ImageChange, ImageGroup
from lineage.questions.diff import Change, Compared, DataChanges, Difference
from lineage.questions.diff import diff as difference
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import REF_HELP
from pipeline.terminal import table

_DIGITS = 12
"""Of a digest or commit; --json has all."""


@asks
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=REF_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="Name what to compare it with.")],
    *,
    store: Store,
) -> None:
    """Explain why two models or runs differ: what of their making is not the same."""
    with store.open(a) as reader:
        answer = difference(reader, a, b)
    store.answer("diff", answer, _show)


def _show(answer: Difference) -> None:
    table(
        ["", "asked for", "run", "state", "model", "pushed as"],
        [_side("a", answer.a), _side("b", answer.b)],
    )
    typer.echo()
    if answer.a.model_id is not None and answer.a.model_id == answer.b.model_id:
        typer.echo(f"Both are the same model, artifact {answer.a.model_id}.")
    if answer.identical:
        typer.echo("Nothing that is recorded of their making differs.")
    if answer.changes:
        table(["section", "what", "a", "b"], [_row(c) for c in answer.changes])
    if answer.data is not None:
        typer.echo()
        _show_data(answer.data)
    if answer.results:
        typer.echo()
        table(["result", "a", "b"], [_row(c)[1:] for c in answer.results])
    if answer.unrecorded:
        typer.echo()
        table(
            ["section", "not recorded", "of"],
            [[u.section, u.key, u.side] for u in answer.unrecorded],
        )


def _side(name: str, side: Compared) -> list[str]:
    model = "none" if side.model_id is None else str(side.model_id)
    return [
        *(name, side.ref, side.run_id or "-", side.state or "-", model),
        ", ".join(side.pushed) or "-",
    ]


def _row(change: Change) -> list[str]:
    return [change.section, change.key, _value(change.before), _value(change.after)]


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", value):
        return value[:_DIGITS]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _show_data(data: DataChanges) -> None:
    if data.images is None:
        typer.echo(f"Which images differ is not available: {data.not_available}.")
        return
    images = data.images
    groups = {
        "added": images.added,
        "removed": images.removed,
        "relabelled": images.relabelled,
        "moved": images.moved,
        "renamed": images.renamed,
    }
    if not images.total:
        typer.echo(
            "The images are the same; extra columns or quarantined files make the difference."
        )
    else:
        table(
            ["images", "count", "of which"],
            [[n, str(g.count), _counts(g)] for n, g in groups.items() if g.count],
        )
        typer.echo()
        table(
            ["image", "path", "class", "split", "sha256"],
            [
                [name, _both(c.path_before, c.path), *_place(c), c.sha256[:_DIGITS]]
                for name, group in groups.items()
                for c in group.first
            ],
        )


def _counts(group: ImageGroup, most: int = 10) -> str:
    counts = [f"{kind}: {count}" for kind, count in group.by.items()]
    more = [f"and {len(counts) - most} more"] if len(counts) > most else []
    return ", ".join(counts[:most] + more)


def _place(change: ImageChange) -> list[str]:
    return [_both(change.label_before, change.label), _both(change.split_before, change.split)]


def _both(before: str | None, after: str | None) -> str:
    if before is None or after is None or before == after:
        return after or before or "-"
    return f"{before} → {after}"
