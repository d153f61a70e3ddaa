"""Pictures of an evaluation, for those who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_MOST_LABELLED = 30


def draw_evaluation(
    *,
    confusion_CC: Sequence[Sequence[int]],
    class_names: Sequence[str],
    calibration: Sequence[tuple[float, float, float]],
    title: str,
    path: Path,
) -> None:
    """Draws the confusion matrix and the calibration curve as a PNG.

    Args:
      confusion_CC: examples by true class (row) and predicted class (column).
      calibration: bins as (mean score, frequency, weight).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    order = sorted(range(len(class_names)), key=lambda i: class_names[i])
    names = [class_names[i] for i in order]
    counts_CC = np.array(confusion_CC, dtype=float)[np.ix_(order, order)]
    share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)

    figure = Figure(figsize=(11, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.add_subplot(1, 2, 1)
    image = axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(names) <= _MOST_LABELLED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        for row, column in zip(*np.nonzero(counts_CC), strict=True):
            axes.text(
                column,
                row,
                str(int(counts_CC[row, column])),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share_CC[row, column] > 0.5 else "black",
            )
    axes = figure.add_subplot(1, 2, 2)
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="perfectly calibrated")
    axes.plot(
        [score for score, _, _ in calibration],
        [frequency for _, frequency, _ in calibration],
        marker="o",
        label="this model",
    )
    axes.set_xlabel("score of a class")
    axes.set_ylabel("how often it is right")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.savefig(path)
