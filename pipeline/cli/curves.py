"""`visionline curves`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import RunError
from common.formats import cell, duration, share, size
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import REF_HELP
from pipeline.terminal import print_json, table
from trainers.history import HISTORY

if TYPE_CHECKING:
    from trainers.curves import Curve

FORMAT = "visionline.curves/1"
"""What `"format"` says in the JSON; the number grows when a field changes its meaning."""


@asks
def curves(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF…", help=f"{REF_HELP} Or a folder that a training writes its history to."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Draw them into this PNG file; by default curves.png.")
    ] = None,
    *,
    store: Store,
) -> None:
    """Draw how trainings went, one or several in one picture; also of those that go on."""
    found = [_find(ref, store) for ref in refs]
    if store.as_json:
        trainings = [{"title": c.title, "epochs": _epochs(c)} for c in found]
        print_json({"format": FORMAT, "trainings": trainings})
    else:
        _show(found)
        out = out or Path("curves.png")
    if out is not None:
        _draw(found, out)


def _draw(found: list[Curve], out: Path) -> None:
    from trainers.curves import draw  # and with it, Matplotlib

    try:
        draw(found, out)
    except OSError as e:
        raise RunError(f"Cannot write the picture {out}: {e.strerror}.") from None
    typer.echo(f"Drawn into {out}.", err=True)


def _find(ref: str, store: Store) -> Curve:
    from trainers.curves import Curve

    if Path(ref, HISTORY).is_file():
        return Curve.read(Path(ref), ref)
    from lineage.questions.training import training

    with store.open(ref) as reader:
        trained = training(reader, ref)
    title = f"{ref}: {trained.model} ({trained.framework})"
    return Curve.read(Path(trained.folder), title)


def _epochs(curve: Curve) -> list[dict[str, float]]:
    return [epoch.figures(curve.headline) for epoch in curve.epochs]


def _show(found: list[Curve]) -> None:
    rows = []
    for curve in found:
        best, last = curve.best, curve.epochs[-1]
        rows.append(
            (
                *(curve.title, cell(last.epoch), cell(best.epoch)),
                *(f"{best.val_loss:.4f}", cell(best.val_metric, share)),
                *(f"{best.loss:.4f}", cell(best.metric, share)),
                cell(sum(e.seconds for e in curve.epochs), duration),
                f"{last.images_per_second:,.0f}",
                cell(last.data_wait, share),
                cell(last.peak_memory_bytes, size),
            )
        )
    headline = " or ".join(dict.fromkeys(c.headline for c in found))
    table(
        (
            *("training", "epochs", "best", "validation loss", f"validation {headline}"),
            *("loss", headline, "time", "images/s", "waits", "memory"),
        ),
        rows,
        optional=("memory", "waits", "images/s", "loss", headline, "time"),
    )
