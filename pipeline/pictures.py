"""Pictures of evaluations and histories, for those who would rather look than read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import RunError
from common.files import write_atomic

if TYPE_CHECKING:
    from lineage.graph.versions import VersionRecord
    from lineage.questions.history import History

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
    from matplotlib.figure import Figure

    order = sorted(range(len(class_names)), key=lambda i: class_names[i])
    names = [class_names[i] for i in order]
    counts_CC = np.array(confusion_CC, dtype=float)[np.ix_(order, order)]
    share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)

    figure = Figure(figsize=(11, 5), dpi=120, layout="constrained")
    figure.suptitle(title, parse_math=False)
    axes = figure.add_subplot(1, 2, 1)
    image = axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if len(names) <= _MOST_LABELLED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
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


def draw_history(history: History, path: Path) -> None:
    """Draws the headline metric and latency over a model's versions as a PNG.

    Raises:
      RunError: it cannot be written.
    """
    from matplotlib.figure import Figure

    from lineage.graph.measured import headline_of
    from lineage.graph.versions import comparable_latencies

    figure = Figure(figsize=(9, 6), dpi=120, layout="constrained")
    figure.suptitle(f"{history.name}: versions", parse_math=False)
    metric = figure.add_subplot(2, 1, 1)
    latency = figure.add_subplot(2, 1, 2, sharex=metric)
    versions = history.versions
    values = [v.headline_value for v in versions]
    _draw_versions(metric, versions, values, headline_of(versions))
    latencies, of = comparable_latencies(versions)
    _draw_versions(latency, versions, latencies, f"latency, {of or 'of an image'}, ms")
    metric.tick_params(labelbottom=False)
    latency.set_ylim(bottom=0)
    latency.set_xlabel("version (hollow: no longer in serving)")
    step = max(1, round(len(versions) / _MOST_LABELLED))
    ticks = range(0, len(versions), step)
    names = [str(versions[i].version) for i in ticks]
    turned = 90 if max(map(len, names)) > 4 else 0
    latency.set_xticks(ticks, names, fontsize=8, rotation=turned, parse_math=False)
    latency.set_xlim(-0.5, len(versions) - 0.5)
    _write(figure, path)


def _draw_versions(
    axes: Any, versions: Sequence[VersionRecord], values: Sequence[float | None], title: str
) -> None:
    """Draws one panel: a point for each version that has a value, by framework."""
    axes.set_ylabel(title)
    axes.grid(alpha=0.25)
    points = [(x, value) for x, value in enumerate(values) if value is not None]
    if not points:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color="0.5")
        axes.set_yticks([])
        return
    axes.plot(*zip(*points, strict=True), color="0.75", lw=1, zorder=1)
    frameworks = sorted({v.framework or "not recorded" for v in versions})
    for index, framework in enumerate(frameworks):
        own = [p for p in points if (versions[p[0]].framework or "not recorded") == framework]
        there = [versions[x].serving in ("latest", "kept") for x, _ in own]
        color = f"C{index}"
        axes.scatter(
            [x for x, _ in own],
            [value for _, value in own],
            s=36,
            color=[color if t else "white" for t in there],
            edgecolors=color,
            zorder=2,
        )
        axes.scatter([], [], s=36, color=color, label=framework)
    for x, value in points:
        if versions[x].serving == "latest":
            axes.scatter(
                [x], [value], s=140, facecolors="none", edgecolors="black", label="served now"
            )
    axes.margins(y=0.15)
    axes.legend(fontsize=8, loc="best", framealpha=0.8)


def _write(figure: Any, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png")
    try:
        write_atomic(path, data.getvalue())
    except OSError as e:
        raise RunError(f"Cannot write the picture {path}: {e.strerror}.") from None
