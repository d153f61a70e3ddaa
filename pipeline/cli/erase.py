"""`visionline erase`: what can be done about images that were withdrawn."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError, Exit
from common.formats import size
from lineage.storage.erase import Erased, ErasePlan, plan
from lineage.storage.erase import erase as carry_out
from lineage.store.opening import open_reader
from pipeline.cli.image_list import images_asked
from pipeline.cli.lineage.asking import Store, asks, own_store
from pipeline.cli.options import DigestOption, DryRunOption, ListOption, ReasonOption, YesOption
from pipeline.terminal import complain, progress_bar, table


@asks
def erase(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Name image files, or folders of them."),
    ] = None,
    images_from: ListOption = None,
    sha256: DigestOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    reason: ReasonOption = "",
    *,
    store: Store,
) -> None:
    """Remove withdrawn images from datasets and arrays, and say which models used them."""
    if dry_run == yes:
        raise ConfigError("erase: say --dry-run to see what would be done, or --yes to do it.")
    asked = images_asked(images, images_from, sha256)
    if not asked:
        raise ConfigError("erase: name images, or give --images-from or --sha256.")
    workspace, connection = own_store(store, "erase")
    if dry_run:
        with closing(open_reader(connection)) as reader:
            planned = plan(reader, workspace, asked)
        store.answer("erase-plan", planned, lambda plan: _show_plan(plan, "would be removed"))
    else:
        with progress_bar() as show:
            done = carry_out(
                workspace, connection, asked, reason, lambda n, of: show("removing", n, of)
            )
        planned = done.plan
        store.answer("erase", done, _show_result)
        if done.failures:
            raise typer.Exit(Exit.FAILED)
    if not planned.found:
        raise typer.Exit(Exit.CANNOT_TELL if planned.unsearched else Exit.NOTHING_FOUND)


def _show_plan(plan: ErasePlan, what: str) -> None:
    typer.echo(f"{plan.found} of {len(plan.sha256)} images are in datasets that are known here.")
    if plan.unsearched:
        typer.echo(
            f"{plan.unsearched} datasets could not be searched and may hold them: "
            "`visionline lineage affected` says which."
        )
    rows = [(i.type, str(i.artifact_id), size(i.bytes), i.uri) for i in plan.remove]
    if rows:
        table((what, "artifact", "size", "where"), rows)
        typer.echo()
    if plan.models:
        table(
            ("model", "use of the images", "in serving"),
            [(str(m.model_id), m.use, ", ".join(m.served) or "-") for m in plan.models],
        )
        typer.echo("These models are kept, and marked: no removal takes an image out of weights.")
        typer.echo()
    for served in plan.served:
        folder = Path(served.folder)
        how = (
            f"visionline rollback {folder.name} --to {served.roll_back_to} "
            f"--serving {folder.parent}"
            if served.roll_back_to is not None
            else "no older version is free of them: train anew with `visionline run`"
        )
        typer.echo(f"{folder.name} version {served.version} serves one of them; instead: {how}")
    if plan.remains:
        typer.echo()
        table(
            ("left", "images", "where", "what to do"),
            [(r.copy.kind, str(r.copy.images), r.copy.where, r.remedy) for r in plan.remains],
        )
    typer.echo("Nor is anything done about servers' request logs and copies on other machines.")


def _show_result(done: Erased) -> None:
    _show_plan(done.plan, "removed")
    typer.echo(f"Removed {done.removed} datasets, arrays among them.")
    if done.recorded is not None:
        typer.echo(f"Recorded as {done.recorded}.")
    for failure in done.failures:
        complain(f"Cannot delete {failure.path}: {failure.reason}.")
    if done.failures:
        complain("Run the same command again to finish.")
