"""`visionline rollback`: an older version answers again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.places import ServingOption, model_folder, serving_folder
from pipeline.terminal import complain

if TYPE_CHECKING:
    from modelstore.rollback import RolledBack


def rollback(
    name: Annotated[str, typer.Argument(help="The model's name in serving.")],
    to: Annotated[
        int | None,
        typer.Option("--to", help="By default the one before that was not rolled back from."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded with who and when.")] = "",
    serving: ServingOption = None,
    output: Annotated[Path | None, typer.Option(help="The pipeline's output folder.")] = None,
    metadata: Annotated[
        str | None, typer.Option(help="The metadata store, instead of the output folder's.")
    ] = None,
) -> None:
    """Serve an older version again, as the next one; servers follow as after a push."""
    from common.errors import RunError
    from modelstore.rollback import roll_back

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
    from common.errors import VisionlineError
    from lineage.storage.rollback_record import record_rollback
    from lineage.store.locate import locate

    try:
        connection = locate(output, metadata, str(folder / str(done.manifest.version)))
        execution = record_rollback(connection, folder, done, reason)
    except VisionlineError as e:
        complain(f"Rolled back, but not recorded in a metadata store: {e}")
    else:
        typer.echo(f"Recorded as execution {execution} in {connection}.")


def _warn_of_labels(folder: Path) -> None:
    from common.errors import DataError
    from modelstore.labels import read_labels

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
