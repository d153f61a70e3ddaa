"""`visionline rollback`: an older version answers again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import DataError, RunError, VisionlineError
from lineage.storage.rollback_record import record_rollback
from lineage.store.locate import locate
from modelstore.labels import read_labels
from modelstore.rollback import RolledBack, roll_back
from modelstore.serving_folder import model_folder
from pipeline.cli.options import (
    MetadataOption,
    OutputOption,
    PushedNameArgument,
    ReasonOption,
    ServingOption,
)
from pipeline.cli.places import serving_folder
from pipeline.terminal import complain


def rollback(
    name: PushedNameArgument,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            help="Name the version; by default the one before that was not rolled back from.",
        ),
    ] = None,
    reason: ReasonOption = "",
    serving: ServingOption = None,
    output: OutputOption = None,
    metadata: MetadataOption = None,
) -> None:
    """Serve an older version again, as the next one; servers follow as after a push."""
    folder = model_folder(serving_folder(serving, output), name)
    try:
        done = roll_back(folder, to)
    except OSError as e:
        raise RunError(f"Cannot write to {folder}: {e.strerror}. Nothing was changed.") from None
    typer.echo(
        f"{name} version {done.manifest.version} is version {done.copied} again; "
        f"the latest was {done.replaced}."
    )
    _record(folder, done, reason, output, metadata)
    _warn_of_labels(folder)


def _record(
    folder: Path, done: RolledBack, reason: str, output: Path | None, metadata: str | None
) -> None:
    """Whoever is on call needs the rollback more than its record: failing warns."""
    try:
        connection = locate(output, metadata, str(folder / str(done.manifest.version)))
        execution = record_rollback(connection, folder, done, reason)
    except VisionlineError as e:
        complain(f"Rolled back, but not recorded in a metadata store: {e}")
    else:
        typer.echo(f"Recorded as execution {execution} in {connection}.")


def _warn_of_labels(folder: Path) -> None:
    try:
        labels = read_labels(folder)
    except DataError as e:
        complain(str(e))
        return
    if shares := [f"{x}={labels.versions[x]}" for x, w in labels.weights.items() if w > 0]:
        complain(
            f"Requests still go where the labels send them ({', '.join(sorted(shares))}); "
            f"move them with: visionline label {folder.name} LABEL=VERSION"
        )
