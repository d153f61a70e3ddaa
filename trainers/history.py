"""Where a training says how it goes, epoch by epoch, and what is left of one that failed."""

from __future__ import annotations

import re
from pathlib import Path

from common.files import read_json
from modelstore.artifact import NATIVE

HISTORY = "history.json"
BEST = "best"
"""There: whether an epoch's weights are the ones that are exported, or would be by then."""
CURVES = "training_curves.png"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints.json"
"""Says where the checkpoints of a training are that has not ended: {"folder": PATH}."""
FINISHED = "finished"
"""The checkpoint of a training that only needs to be exported."""
_NAME = re.compile(r"step-(\d+)|" + FINISHED)


def kept(directory: Path) -> str:
    """Says what a training that did not end well left; "" where that is nothing."""
    sentences = []
    try:
        epochs = len(read_json(directory / HISTORY))
        figures = (
            "figures of its one finished epoch" if epochs == 1 else f"figures of {epochs} epochs"
        )
        sentences.append(
            f"The {figures} are kept in {directory} ({HISTORY}, {CURVES}, {TENSORBOARD}/)."
        )
    except (OSError, ValueError, TypeError):
        pass
    if (directory / NATIVE).is_dir():
        sentences.append(
            f"The trained model is kept in {directory / NATIVE}, which train.pretrained takes."
        )
    if (checkpoint := last_checkpoint(directory)) is not None:
        sentences.append(
            f"The last checkpoint is {checkpoint}; the same command goes on from there."
        )
    return " ".join(sentences)


def last_checkpoint(directory: Path) -> Path | None:
    """Returns the newest checkpoint of the training that writes its history to a folder."""
    try:
        found = checkpoints_in(Path(read_json(directory / CHECKPOINTS)["folder"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found[0] if found else None


def checkpoints_in(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the newest first, without looking into them."""
    if not folder.is_dir():
        return []
    named = {path: match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    return sorted(named, key=lambda path: float(named[path][1] or "inf"), reverse=True)
