"""`visionline lineage gc`."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Annotated

import typer

from common.errors import ConfigError, Exit
from common.formats import size
from lineage.storage.gc import GcPlan, plan
from lineage.storage.removal import GcResult, collect
from lineage.store.opening import open_reader
from pipeline.cli.lineage.asking import Store, asks, own_store
from pipeline.cli.options import DryRunOption, YesOption
from pipeline.terminal import complain, progress_bar, table

_WHY = {
    "withdrawn": "it holds a withdrawn image",
    "unused": "nothing kept needs it",
    "gone": "nothing kept needs it, and its files are not there",
    "unfinished": "marked as deleted, its files still there",
}


@asks
def gc(
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    keep_runs: Annotated[
        int,
        typer.Option(
            "--keep-runs",
            min=1,
            help="Keep the cached steps of so many complete runs per pipeline.",
        ),
    ] = 3,
    *,
    store: Store,
) -> None:
    """Remove artifact files that nothing kept needs."""
    if dry_run == yes:
        raise ConfigError(
            "lineage gc: say --dry-run to see what would be removed, or --yes to remove it."
        )
    workspace, connection = own_store(store, "lineage gc")
    if dry_run:
        with closing(open_reader(connection)) as reader:
            planned = plan(reader, workspace.artifacts, keep_runs)
        store.answer("gc-plan", planned, _show_plan)
        return
    with progress_bar() as show:
        done = collect(
            workspace, connection, keep_runs, lambda done, all_: show("removing", done, all_)
        )
    store.answer("gc", done, _show_result)
    if done.failures:
        raise typer.Exit(Exit.FAILED)


def _show_plan(plan: GcPlan) -> None:
    if plan.remove:
        rows = [
            (str(i.artifact_id), i.type, i.run_id or "", size(i.bytes), _WHY[i.why], i.uri)
            for i in plan.remove
        ]
        table(("artifact", "type", "last used by", "size", "why", "files"), rows)
    counts = Counter(plan.kept)
    kept = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    typer.echo(f"Kept: {kept or 'nothing'}.")
    if plan.trash:
        typer.echo(f"Left by a gc or by trainings that were stopped: {plan.trash}.")
    typer.echo(f"gc --yes removes {len(plan.remove)} artifacts and frees {size(plan.bytes)}.")


def _show_result(done: GcResult) -> None:
    typer.echo(f"Removed {done.removed} artifacts, freed {size(done.freed)}.")
    for failure in done.failures:
        complain(f"Cannot delete {failure.path}: {failure.reason}.")
    if done.failures:
        complain("They are marked as deleted; run the same command again to finish.")
