"""What a question comes to: figures with what they should reach, tables, and what was seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from benchmarks.core.lab import Lab

Level = Literal["bench", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that has something to reach."""

    what: str
    """Unique within its question."""
    value: float
    unit: Literal["ratio", "seconds", "share"] = "ratio"
    ours: float | None = None
    """What a ratio's upper part is, in `of`."""
    peer: float | None = None
    of: str = "s"
    reach: float | None = None
    at_least: bool = False
    """The value should be so large at least; else so large at most."""

    @property
    def is_reached(self) -> bool | None:
        """None: it has nothing to reach."""
        if self.reach is None:
            return None
        return self.value >= self.reach if self.at_least else self.value <= self.reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Figures that are shown beside those that matter; the first column is text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What asking a question came to."""

    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that are true of this measurement alone."""
    rounds: int = 1
    runs: dict[str, Any] = field(default_factory=dict)
    """Records of runs that others read, such as `python -m benchmarks scaling`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A measurement, with when and where it was made."""

    measured: Measured
    day: str
    commit: str
    machine: str
    versions: str
    load: float
    """Of the machine over the minute before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that can be measured."""

    name: str
    title: str
    text: str
    """What is measured and against what, for the page."""
    ask: Callable[[Lab], Measured]
    level: Level = "bench"
    ours: str = "visionline"
    peer: str = "peer"
    needs_old: bool = False
    """It compares with another checkout."""


def ratio(
    what: str,
    ours: float,
    peer: float,
    *,
    reach: float | None = None,
    at_least: bool = False,
    of: str = "s",
) -> Figure:
    """Returns the figure that `ours` is so many times `peer`."""
    return Figure(
        what=what,
        value=ours / peer,
        ours=ours,
        peer=peer,
        of=of,
        reach=reach,
        at_least=at_least,
    )


def seconds(what: str, value: float, *, reach: float | None = None) -> Figure:
    """Returns a figure that is no ratio."""
    return Figure(what=what, value=value, unit="seconds", reach=reach)
