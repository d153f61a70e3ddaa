"""Values as the page shows them: Jinja's filters, over `common.formats`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from markupsafe import Markup

from common import formats
from lineage.graph.measured import headline_of
from lineage.graph.versions import LATENCY_OF
from lineage.questions.diff import Change

NOT_RECORDED = Markup('<span class="missing">{}</span>').format(formats.NOT_RECORDED)

STATES = {
    "complete": ("good", "✓"),
    "failed": ("bad", "✕"),
    "cancelled": ("quiet", "–"),
    "canceled": ("quiet", "–"),
    "running": ("busy", "…"),
    "unknown": ("quiet", "?"),
    "cached": ("reused", "↺"),
    "latest": ("good", "●"),
    "kept": ("quiet", "○"),
    "removed": ("quiet", "–"),
    "blessed": ("good", "✓"),
    "not blessed": ("bad", "✕"),
    "skipped": ("quiet", "–"),
    "deleted": ("bad", "✕"),
}
"""Colour and sign by state; the word stands beside them."""


def _or_not_recorded(form: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A filter that says of nothing that it is not recorded."""
    return lambda value: NOT_RECORDED if value is None or value == "" else form(value)


def _state(value: str) -> Markup:
    word = value.lower().replace("_", " ")
    colour, sign = STATES.get(word, ("quiet", "·"))
    return Markup(
        '<span class="state {}"><span class="sign" aria-hidden="true">{}</span>{}</span>'
    ).format(colour, sign, word)


def _seen(value: str | None) -> Markup:
    """Whether a version is in its serving folder."""
    return Markup('<span class="missing">not known</span>') if value is None else _state(value)


def _time(value: str) -> Markup:
    """To the minute; the whole of it on hovering."""
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        value, formats.minute(value)
    )


def _number(value: float) -> str:
    """An integer with its thousands apart, or four digits of anything else."""
    return formats.count(value) if isinstance(value, int) else f"{value:.4g}"


def _digest(value: str) -> Markup:
    """All of it is there to be copied; what is seen at first is its beginning."""
    return Markup('<code class="digest" tabindex="0" title="{0}">{0}</code>').format(value)


def _in_sections(changes: Iterable[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Changes by section, in the order they are in."""
    for section, rows in groupby(changes, key=lambda c: c.section):
        yield section, list(rows)


FILTERS: dict[str, Callable[..., Any]] = {
    "known": _or_not_recorded(lambda value: value),
    "state": _or_not_recorded(_state),
    "seen": _seen,
    "time": _or_not_recorded(_time),
    "duration": _or_not_recorded(formats.duration),
    "share": _or_not_recorded(formats.share),
    "number": _or_not_recorded(_number),
    "milliseconds": _or_not_recorded(formats.milliseconds),
    "digest": _or_not_recorded(_digest),
    "headline": headline_of,
    "measured": lambda of: LATENCY_OF.get(of or "", ""),
    "flat": formats.flat,
    "plain": formats.plain,
    "counts": formats.counts,
    "in_sections": _in_sections,
}
