"""Where a training says how it goes, epoch by epoch, and what is left of one that failed."""

from __future__ import annotations

from pathlib import Path

from common.files import read_json

HISTORY = "history.json"
CURVES = "training_curves.png"
TENSORBOARD = "tensorboard"


def kept(directory: Path) -> str:
    """A sentence on what a training that did not end well left; "" where that is nothing."""
    try:
        epochs = len(read_json(directory / HISTORY))
    except (OSError, ValueError, TypeError):
        return ""
    figures = "figures of its one finished epoch" if epochs == 1 else f"figures of {epochs} epochs"
    return f"The {figures} are kept in {directory} ({HISTORY}, {CURVES}, {TENSORBOARD}/)."
