"""`lineage verify`, `gc`, `pin`, `unpin` and `pins`: the files behind the records."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import Exit
from common.formats import size
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
    from collections.abc import Callable

    from lineage.storage.gc import GcPlan
    from lineage.storage.removal import GcResult
    from lineage.storage.verify import Verification
    from lineage.store.connection import Connection
    from lineage.store.records import Artifact
    from lineage.store.workspace import Workspace

_WHY = {
    "withdrawn": "it holds a withdrawn image",
    "unused": "nothing kept needs it",
    "gone": "nothing kept needs it, and its files are not there",
    "unfinished": "marked as deleted, its files still there",
}


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Pushed models; without one, everything."),
    ] = None,
    serving: Annotated[
        list[Path] | None,
        typer.Option("--serving", help="A serving folder besides those that were recorded."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Whether files are there; reads none of them.")
    ] = False,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that files and served versions are what was recorded."""
    from lineage.storage.verify import verify as check

    with asking(output, metadata) as reader, progress_bar() as show:
        found = check(reader, names or (), serving or (), quick=quick, progress=show)
    if as_json:
        answer_json("verify", found)
    else:
        _show_verification(found)
    if found.problems:
        raise typer.Exit(Exit.FAILED)


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
    keep_runs: Annotated[
        int,
        typer.Option(
            "--keep-runs", min=1, help="Complete runs per pipeline whose cached steps are kept."
        ),
    ] = 3,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove artifact files that nothing kept needs."""
    from common.errors import ConfigError
    from lineage.storage.gc import plan
    from lineage.storage.removal import collect
    from lineage.store.opening import open_reader

    if dry_run == yes:
        raise ConfigError(
            "lineage gc: say --dry-run to see what would be removed, or --yes to remove it."
        )
    workspace, connection = own_store(output, metadata, "lineage gc")
    if dry_run:
        reader = open_reader(connection)
        try:
            found = plan(reader, workspace.artifacts, keep_runs)
        finally:
            reader.close()
        if as_json:
            answer_json("gc-plan", found)
        else:
            _show_plan(found)
        return
    with progress_bar() as show:
        done = collect(
            workspace, connection, keep_runs, lambda done, all_: show("removing", done, all_)
        )
    if as_json:
        answer_json("gc", done)
    else:
        _show_result(done)
    if done.failures:
        raise typer.Exit(Exit.FAILED)


@app.command()
def pin(
    ref: RefArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown by `lineage pins`.")] = "",
    output: OutputOption = None,
    metadata: MetadataOption = None,
) -> None:
    """Keep a model, and what it was made from, from being removed by gc."""
    from lineage.storage.marking import pin as write

    connection, model = _model(output, metadata, ref)
    write(connection, model, reason)
    typer.echo(f"Pinned model {model.id}, {model.uri}.")


@app.command()
def unpin(ref: RefArgument, output: OutputOption = None, metadata: MetadataOption = None) -> None:
    """Take a model's pin away."""
    from lineage.storage.marking import unpin as write

    connection, model = _model(output, metadata, ref)
    write(connection, model)
    typer.echo(f"Model {model.id}, {model.uri}, is no longer pinned.")


@app.command()
def pins(
    output: OutputOption = None, metadata: MetadataOption = None, as_json: JsonOption = False
) -> None:
    """List pinned models."""
    from lineage.graph.marks import pins as read
    from pipeline.terminal import table

    with asking(output, metadata) as reader:
        found = read(reader)
    if as_json:
        answer_json("pins", found)
    elif found.pins:
        columns = ("model", "who", "when", "reason", "files")
        rows = [(str(p.model_id), p.who, p.when, p.reason, p.uri) for p in found.pins]
        table(columns, [[cell or "" for cell in row] for row in rows])
    else:
        typer.echo("No model is pinned.")
    if not found.pins:
        raise typer.Exit(Exit.NOTHING_FOUND)


def _model(output: Path | None, metadata: str | None, ref: str) -> tuple[Connection, Artifact]:
    """The model that `ref` means, and its store, which is not open any more."""
    from lineage.graph.refs import find_model
    from lineage.store.locate import locate
    from lineage.store.opening import open_reader

    connection = locate(output, metadata, ref)
    reader = open_reader(connection)
    try:
        return connection, find_model(reader, ref)
    finally:
        reader.close()


def own_store(
    output: Path | None, metadata: str | None, command: str
) -> tuple[Workspace, Connection]:
    """An output folder and the store of its runs.

    Another store, such as an older copy, does not know what is still needed.
    """
    from common.errors import ConfigError, RunError
    from lineage.store.locate import locate
    from lineage.store.workspace import Workspace

    connection = locate(output, metadata)
    if output is None and connection.path is None:
        raise ConfigError(f"{command}: name the output folder, too, with --output.")
    workspace = Workspace(output or connection.path.parent)  # type: ignore[union-attr]
    if not workspace.is_claimed:
        raise RunError(
            f"{workspace.root} is not a visionline output folder; {command} removes only what "
            "visionline's own pipelines made. Name the folder with --output."
        )
    own = workspace.connection
    same = str(connection) == str(own)
    if connection.path is not None and own.path is not None:
        same = os.path.realpath(connection.path) == os.path.realpath(own.path)
    if not same:
        raise ConfigError(
            f"{command}: the runs in {workspace.root} are recorded in {own}; another store "
            f"({connection}) does not know what they need. Leave --metadata out."
        )
    workspace.check_alone(own, [r for r in own.places.roots if r != own.places.root])
    return workspace, own


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, if that is a terminal."""
    from pipeline.terminal import console

    terminal = console(stderr=True)
    if not terminal.is_terminal:
        yield lambda what, done, total: None
        return
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")]
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=escape(what), completed=done, total=total
        )


def _show_verification(found: Verification) -> None:
    from pipeline.terminal import table

    if found.problems:
        rows = [
            (p.kind, "" if p.artifact_id is None else str(p.artifact_id), p.where, p.detail)
            for p in found.problems
        ]
        table(("problem", "artifact", "where", "detail"), rows)
    checked = found.checked
    parts = [
        f"{checked.artifacts} artifacts ({checked.digests} by digest, "
        f"{checked.artifacts - checked.digests} for existence only)",
        f"{checked.versions} served versions",
    ]
    if checked.elsewhere:
        parts.append(f"{checked.elsewhere} artifacts are not on this machine")
    if checked.erased:
        parts.append(f"{checked.erased} datasets were removed on purpose by `visionline erase`")
    verdict = f"{len(found.problems)} problems" if found.problems else "all good"
    typer.echo(f"Checked {'; '.join(parts)}: {verdict}.")


def _show_plan(found: GcPlan) -> None:
    from pipeline.terminal import table

    if found.remove:
        rows = [
            (str(i.artifact_id), i.type, i.run_id or "", size(i.bytes), _WHY[i.why], i.uri)
            for i in found.remove
        ]
        table(("artifact", "type", "last used by", "size", "why", "files"), rows)
    counts = Counter(found.kept)
    kept = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    typer.echo(f"Kept: {kept or 'nothing'}.")
    if found.trash:
        typer.echo(f"Left by a gc that was stopped: {found.trash}.")
    typer.echo(f"gc --yes removes {len(found.remove)} artifacts and frees {size(found.bytes)}.")


def _show_result(done: GcResult) -> None:
    from pipeline.terminal import complain

    typer.echo(f"Removed {done.removed} artifacts, freed {size(done.freed)}.")
    for failure in done.failures:
        complain(f"Cannot delete {failure.path}: {failure.reason}.")
    if done.failures:
        complain("They are marked as deleted; run the same command again to finish.")
