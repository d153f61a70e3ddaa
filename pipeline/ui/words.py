"""Values as people read them: Jinja's filters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from markupsafe import Markup

from lineage.graph.versions import LATENCY_OF
from lineage.questions.diff import Change

NOT_RECORDED = Markup('<span class="missing">not recorded</span>')

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


def known(value: Any) -> Any:
    """The value, or that there is none."""
    return NOT_RECORDED if value is None or value == "" else value


def state(value: str | None) -> Markup:
    if value is None:
        return NOT_RECORDED
    word = value.lower().replace("_", " ")
    colour, sign = STATES.get(word, ("quiet", "·"))
    return Markup(
        '<span class="state {}"><span class="sign" aria-hidden="true">{}</span>{}</span>'
    ).format(colour, sign, word)


def seen(value: str | None) -> Markup:
    """Whether a version is in its serving folder."""
    return Markup('<span class="missing">not known</span>') if value is None else state(value)


def time(value: str | None) -> Markup:
    """ISO 8601, UTC, to the minute; the whole of it on hovering."""
    if not value:
        return NOT_RECORDED
    short = value[:16].replace("T", " ")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(value, short)


def duration(seconds: float | None) -> str | Markup:
    if seconds is None:
        return NOT_RECORDED
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def share(value: float | None) -> str | Markup:
    """An accuracy."""
    return NOT_RECORDED if value is None else f"{value:.4f}"


def number(value: float | None) -> str | Markup:
    """An integer with its thousands apart, or four digits of anything else."""
    if value is None:
        return NOT_RECORDED
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def milliseconds(value: float | None) -> str | Markup:
    return NOT_RECORDED if value is None else f"{value:.3g} ms"


def measured(of: str | None) -> str:
    """What a latency is of: `VersionRecord.latency_of`."""
    return LATENCY_OF.get(of or "", "")


def size(value: float | None) -> str | Markup:
    """Bytes."""
    if value is None:
        return NOT_RECORDED
    units = ["TB", "GB", "MB", "kB"]
    if abs(value) < 1000:
        return f"{value:.0f} bytes"
    while True:
        value, unit = value / 1000, units.pop()
        if abs(value) < 1000 or not units:
            return f"{value:.1f} {unit}"


def digest(value: str | None) -> Markup:
    """All of it is there to be copied; what is seen at first is its beginning."""
    if not value:
        return NOT_RECORDED
    return Markup('<code class="digest" tabindex="0" title="{0}">{0}</code>').format(value)


def yes(value: bool | None) -> str | Markup:
    return NOT_RECORDED if value is None else "yes" if value else "no"


def counts(value: Mapping[str, int]) -> str:
    """Images by split."""
    return ", ".join(f"{k} {v:,}" for k, v in value.items())


def plain(value: Any) -> str:
    """A value of a config, as JSON; text without its quotes."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested tables as dotted keys, sorted."""
    for key in sorted(value):
        inner = value[key]
        if isinstance(inner, Mapping) and inner:
            yield from flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain(inner)


def in_sections(changes: Iterable[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Changes by section, in the order they are in."""
    for section, rows in groupby(changes, key=lambda c: c.section):
        yield section, list(rows)


FILTERS = {
    f.__name__: f
    for f in (
        *(
            known,
            state,
            seen,
            time,
            duration,
            share,
            number,
            milliseconds,
            measured,
            size,
            digest,
            yes,
        ),
        *(plain, flat, counts, in_sections),
    )
}
