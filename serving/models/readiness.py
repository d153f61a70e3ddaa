"""Whether requests should come here; and if not, why, in words for whoever is on call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.models.served import Served

Word = Literal["ready", "loading", "failed", "unloaded", "waiting", "ending"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """A word, and what is behind it."""

    word: Word
    """loading: it may become ready by itself; waiting: it does once something is pushed;
    failed, unloaded: not before someone does something."""
    lines: tuple[str, ...] = ()
    """What does not answer, and why."""
    answering: tuple[str, ...] = ()
    """What does."""


def judge(
    models: Sequence[Served], folder: Path, *, ready: bool, scanned: bool, trouble: str
) -> Readiness:
    """Says what became of a serving folder.

    Args:
      models: as they are; nothing changes them meanwhile.
      scanned: whether the folder was looked at.
      trouble: why it could not be read.
    """
    lines = [f"The serving folder cannot be read: {trouble}"] if trouble else []
    lines += [line for model in models for line in _not_answering(model)]
    answering = tuple(f"{m.name} {v}" for m in models for v in m.available())
    if ready:
        return Readiness("ready", tuple(lines), answering)
    if not scanned or not all(model.settled() for model in models):
        return Readiness("loading", tuple(lines), answering)
    if trouble or any(m.trouble or any(s.error for s in m.slots.values()) for m in models):
        return Readiness("failed", tuple(lines))
    if any(m.kept_out and m.on_disk for m in models):
        return Readiness("unloaded", tuple(lines))
    lines.append(
        f"Nothing to serve in {folder} yet; the next push to {folder}/NAME/VERSION/ is loaded."
    )
    return Readiness("waiting", tuple(lines))


def _not_answering(model: Served) -> Iterator[str]:
    if model.trouble:
        yield f"{model.name}: {model.trouble}"
    for version, slot in sorted(model.slots.items()):
        at = f"{model.name} {version}"
        if slot.error:
            yield f"{at}: failed: {slot.error}"
        elif slot.unloaded:
            yield f"{at}: {slot.unloaded}"
        elif slot.state != "AVAILABLE":
            yield f"{at}: {'unloading' if slot.state == 'UNLOADING' else 'loading'}"
    if model.on_disk and not model.slots:
        there = ", ".join(map(str, model.on_disk))
        why = model.kept_out_by if model.kept_out else f"of {there}, none is wanted"
        yield f"{model.name}: {why}"
