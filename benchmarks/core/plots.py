"""One plot for each table: bars, and a mark at what each should reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.core.figures import Figure
from benchmarks.core.report import reach, shown

_INK = "#7d8590"
"""A grey that can be read on white and on black; the ground is transparent."""
_REACHED, _MISSED, _FREE = "#2f81c7", "#d9822b", "#8b9dc3"


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Writes the figures as bars; the same figures give the same file."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "visionline",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with plt.rc_context(style):
        parts = [unit for unit in ("ratio", "seconds", "share") if _of(figures, unit)]
        counts = [len(_of(figures, unit)) for unit in parts]
        height = 0.34 * sum(counts) + 0.6 * len(parts)
        fig, axes = plt.subplots(
            len(parts),
            1,
            figsize=(8, height),
            squeeze=False,
            layout="constrained",
            gridspec_kw={"height_ratios": [n + 0.8 for n in counts]},
        )
        for ax, unit in zip(axes[:, 0], parts, strict=True):
            _bars(ax, _of(figures, unit), unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        fig.savefig(path, transparent=True, metadata=metadata)
        plt.close(fig)


def _of(figures: Sequence[Figure], unit: str) -> list[Figure]:
    return [f for f in figures if f.unit == unit]


def _bars(ax: mpl.axes.Axes, figures: list[Figure], unit: str) -> None:
    colours = {True: _REACHED, False: _MISSED, None: _FREE}
    places = np.arange(len(figures))
    values = [f.value for f in figures]
    ax.barh(places, values, height=0.62, color=[colours[f.is_reached] for f in figures])
    for place, figure in zip(places, figures, strict=True):
        label = shown(figure.value, figure.unit)
        if figure.reach is not None:
            ax.plot([figure.reach] * 2, [place - 0.42, place + 0.42], color=_INK, linewidth=2)
            label += f"  ({reach(figure)})"
        end = max(figure.value, figure.reach or 0)
        ax.annotate(label, (end, place), (5, 0), textcoords="offset points", va="center")
    most = max(max(f.value, f.reach or 0) for f in figures)
    ax.set_xlim(0, most * 1.25)
    ax.set_yticks(places, [f.what for f in figures])
    ax.invert_yaxis()
    ax.set_xlabel({"ratio": "ratio", "seconds": "seconds", "share": "share"}[unit])
    ax.spines[["top", "right"]].set_visible(False)
