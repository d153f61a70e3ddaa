"""`visionline lineage verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import Exit
from lineage.storage.verify import Verification
from lineage.storage.verify import verify as check
from pipeline.cli.lineage.asking import Store, asks
from pipeline.terminal import progress_bar, table


@asks
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Check these pushed models; without one, everything."
        ),
    ] = None,
    serving: Annotated[
        list[Path] | None,
        typer.Option(
            "--serving", help="Check this serving folder besides those that were recorded."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Check only that files are there, and read none of them."),
    ] = False,
    *,
    store: Store,
) -> None:
    """Check that files and served versions are what was recorded."""
    with store.open() as reader, progress_bar() as show:
        verification = check(reader, names or (), serving or (), quick=quick, progress=show)
    store.answer("verify", verification, _show_verification)
    if verification.problems:
        raise typer.Exit(Exit.FAILED)


def _show_verification(verification: Verification) -> None:
    if verification.problems:
        rows = [
            (p.kind, "" if p.artifact_id is None else str(p.artifact_id), p.where, p.detail)
            for p in verification.problems
        ]
        table(("problem", "artifact", "where", "detail"), rows)
    checked = verification.checked
    parts = [
        f"{checked.artifacts} artifacts ({checked.digests} by digest, "
        f"{checked.artifacts - checked.digests} for existence only)",
        f"{checked.versions} served versions",
    ]
    if checked.elsewhere:
        parts.append(f"{checked.elsewhere} artifacts are not on this machine")
    if checked.erased:
        parts.append(f"{checked.erased} datasets were removed on purpose by `visionline erase`")
    verdict = f"{len(verification.problems)} problems" if verification.problems else "all good"
    typer.echo(f"Checked {'; '.join(parts)}: {verdict}.")
