"""What evaluations measured of models: metrics by name, of which one is the headline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from common.record.steps import Verdict
from modelstore.tasks import DEFAULT, TASKS

TASK = TASKS[DEFAULT]
"""Executions do not say which task they are of; what is recorded of them is of this one."""
NAMES = tuple(m.name for m in TASK.METRICS)
"""What the metrics are called and stored as, the headline first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A base of what has been evaluated."""

    headline: str = TASK.HEADLINE
    """The metric that a model is judged by."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """By name, as far as recorded: of its last evaluation, unless it says otherwise."""

    @property
    def headline_value(self) -> float | None:
        return self.metrics.get(self.headline)


def metrics(recorded: Verdict) -> dict[str, float]:
    """Returns the metrics that an evaluation has recorded, by name."""
    return {k: v for k in NAMES if (v := getattr(recorded, k)) is not None}


def headline_of(measured: Iterable[Measured]) -> str:
    """Returns a title for headline metrics that are listed together."""
    return " or ".join(dict.fromkeys(m.headline for m in measured)) or TASK.HEADLINE
