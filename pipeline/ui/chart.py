"""The picture of a model's history: one line per measure, over its versions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 10.0, 22.0
_LABELS = 8
"""Versions named below a chart, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    x: float
    y: float
    label: str
    """What it stands for, as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Places in pixels, from the top left corner of WIDTH × HEIGHT."""

    title: str
    dots: tuple[Dot, ...]
    paths: tuple[str, ...]
    """One for each stretch of versions without a gap."""
    ticks: tuple[Tick, ...]
    """Of the values, up the left side."""
    names: tuple[Tick, ...]
    """Of the versions, along the bottom."""


def line_chart(
    title: str, names: Sequence[str], values: Sequence[float | None], unit: str = ""
) -> Chart | None:
    """A chart of values by name; None where fewer than two are known."""
    numbers = [v for v in values if v is not None and math.isfinite(v)]
    if len(numbers) < 2:
        return None
    steps = _steps(min(numbers), max(numbers))
    low, high = steps[0], steps[-1]
    across = (WIDTH - _LEFT - _RIGHT) / (len(names) - 1)
    down = (HEIGHT - _TOP - _BOTTOM) / (high - low)

    def y(value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - low) * down, 1)

    dots: list[Dot] = []
    stretches: list[list[Dot]] = [[]]
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        if value is None or not math.isfinite(value):
            stretches.append([])
            continue
        x = round(_LEFT + i * across, 1)
        dots.append(Dot(x=x, y=y(value), label=f"version {name}: {value:.4g}{unit}"))
        stretches[-1].append(dots[-1])
    every = math.ceil(len(names) / _LABELS)
    places = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    return Chart(
        title=title,
        dots=tuple(dots),
        paths=tuple("M" + "L".join(f"{d.x} {d.y}" for d in s) for s in stretches if len(s) > 1),
        ticks=tuple(Tick(at=y(s), label=f"{s:.{places}f}{unit}") for s in steps),
        names=tuple(
            Tick(at=round(_LEFT + i * across, 1), label=name)
            # Counted from the newest, which is always named.
            for i, name in enumerate(names)
            if (len(names) - 1 - i) % every == 0
        ),
    )


def _steps(low: float, high: float) -> list[float]:
    """Round numbers, three to six, that hold all values between them."""
    span = high - low or abs(high) / 10 or 1.0
    rough = span / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return [i * step for i in range(first, last + 1)]
