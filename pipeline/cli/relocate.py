"""`visionline relocate`: an output folder, or its serving folder, lies elsewhere now."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from lineage.graph.pushed import pushes
from lineage.store.opening import open_reader
from lineage.store.places import Places
from lineage.store.workspace import Workspace


def relocate(
    output: Annotated[Path, typer.Argument(help="Name the output folder, where it is now.")],
    serving: Annotated[
        str | None,
        typer.Option(metavar="[OLD=]NEW", help="Say where a serving folder outside of it is now."),
    ] = None,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Say that it is a copy: what was recorded so far is the other's."
        ),
    ] = False,
) -> None:
    """Tell an output folder that it was moved; the next run would do so by itself."""
    workspace = Workspace(output)
    moved = {} if serving is None else _serving(workspace, serving)
    before, now = workspace.relocate(moved, copy=copy)
    typer.echo(f"{now.root} is where it is; before: {', '.join(before.roots) or 'not recorded'}.")
    for old, new in moved.items():
        typer.echo(f"What was pushed to {old} is looked for in {new}.")
    if copy:
        typer.echo("From now on it is a folder of its own: its steps are done anew.")
    else:
        _count(workspace, now)


def _serving(workspace: Workspace, text: str) -> dict[str, str]:
    """Where a serving folder is now, by where it was."""
    old, equals, new = text.rpartition("=")
    place = str(Path(new).absolute())
    if not os.path.isdir(place):
        raise ConfigError(f"--serving: no folder {new!r}.")
    if equals:
        return {str(Path(old).absolute()): place}
    pushed_to = sorted(_pushed_to(workspace) - {place})
    gone = [f for f in pushed_to if not os.path.isdir(f)]
    if len(gone) != 1:
        raise ConfigError(
            f"--serving: which folder is at {new} now? Pushed to was: "
            f"{', '.join(pushed_to) or 'none'}. Name it: --serving OLD=NEW."
        )
    return {gone[0]: place}


def _pushed_to(workspace: Workspace) -> set[str]:
    """The serving folders that the folder's store names."""
    with closing(open_reader(workspace.connection)) as reader:
        return {os.path.dirname(p.folder) for p in pushes(reader) if "://" not in p.destination}


def _count(workspace: Workspace, places: Places) -> None:
    from common.errors import NoDatabaseError

    try:
        reader = open_reader(workspace.connection)
    except NoDatabaseError:
        return
    with closing(reader):
        live = [a.uri for a in reader.all_artifacts() if a.state == "LIVE"]
    inside = [uri for uri in live if uri.startswith(places.root + os.sep)]
    there = sum(os.path.isdir(uri) for uri in inside)
    typer.echo(f"Of {len(inside)} artifacts made in it, the files of {there} are there.")
