"""What became slower since the last committed figures."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.core.figures import Figure
from benchmarks.core.report import Results, shown

SLOWER = 1.2


def compare(now: Results, before: Results) -> list[str]:
    """Says in sentences what is worse by more than a fifth than the figures before.

    Only figures of the same machine are called worse; where it is another, that is said.
    """
    sentences = []
    elsewhere = []
    for name, result in now.items():
        former = before.get(name)
        if former is None:
            continue
        if former.machine != result.machine:
            elsewhere.append(name)
            continue
        since = f"{former.day}, commit {former.commit}"
        then = {f.what: f for f in former.measured.figures}
        for figure in result.measured.figures:
            if (old := then.get(figure.what)) is not None and is_worse(figure, old):
                sentences.append(
                    f"{name}, {figure.what}: {shown(figure.value, figure.unit)}, and "
                    f"{shown(old.value, old.unit)} before ({since})."
                )
    if elsewhere:
        sentences.append(
            f"Not compared, as the committed figures are of another machine: {_listed(elsewhere)}."
        )
    if unknown := [n for n in now if n not in before]:
        sentences.append(f"Not compared, as there are no committed figures: {_listed(unknown)}.")
    return sentences


def is_worse(now: Figure, before: Figure) -> bool:
    """Says whether a figure is worse by more than a fifth."""
    if now.at_least:
        return now.value * SLOWER < before.value
    return now.value > before.value * SLOWER


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
