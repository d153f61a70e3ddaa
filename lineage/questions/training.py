"""`curves`: where a training wrote how it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import NotFoundError
from common.record.kinds import MODEL_RUN
from common.record.run import Run
from lineage.graph.alive import output_folder
from lineage.graph.refs import find_run, outputs_of_run
from lineage.store.reader import Reader
from lineage.store.workspace import TRAINING, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    run_id: str
    framework: str | None
    model: str | None
    """The architecture's name."""
    folder: str
    """With the history; of one that has not ended well, where it writes meanwhile."""


def training(reader: Reader, ref: str) -> Training:
    """Finds the training of a run, or of what a run has made.

    Raises:
      NotFoundError: there is no such run, or it has not trained.
    """
    run = find_run(reader, ref)
    recorded, run_id = Run.read(run), run.name or ""
    folders = [
        Path(a.uri)
        for a in reversed(outputs_of_run(reader, run))
        if a.type == MODEL_RUN and a.state == "LIVE"
    ]
    output = output_folder(run)
    if output is not None:
        folders.append(Workspace(output).run_dir(run_id) / TRAINING)
    folder = next(filter(Path.is_dir, folders), None)
    if folder is None:
        raise NotFoundError(f"The run {run_id} has left no training to draw.")
    return Training(
        run_id=run_id, framework=recorded.framework, model=recorded.model, folder=str(folder)
    )
