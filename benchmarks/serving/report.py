"""Figures out of samples, and tables out of figures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """One load: or the medians of several alike."""

    rate: float
    """Requests per second."""
    p50: float
    """Milliseconds."""
    p99: float
    failed: int
    cpu: float
    """The client's, as a part of one CPU."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank).

    Raises:
      ValueError: there are none.
    """
    if not values:
        raise ValueError("Expected at least one value, got none.")
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(int(rank) - 1, 0)]


def median(found: Sequence[Figures]) -> Figures:
    """The median of each figure; failures are added up."""
    return Figures(
        rate=statistics.median(f.rate for f in found),
        p50=statistics.median(f.p50 for f in found),
        p99=statistics.median(f.p99 for f in found),
        failed=sum(f.failed for f in found),
        cpu=statistics.median(f.cpu for f in found),
    )


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line through (x, y); 0 of fewer than two points."""
    if len(samples) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*samples, strict=True)).slope


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float) -> str:
    """Three digits, or all of the whole ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
