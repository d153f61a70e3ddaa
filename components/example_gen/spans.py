"""`{SPAN}` and `{VERSION}` in a path, with the meaning they have in TFX.

The latest span is taken, then its latest version; `{SPAN:8}` stands for
exactly eight digits, `{YYYY}`, `{MM}` and `{DD}` for a date, whose span is the
number of days since 1970-01-01.  Names that hold no number are passed over.
"""

from __future__ import annotations

import datetime
import glob
import os
import re
from dataclasses import dataclass

from common.errors import DataError

_SPEC = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(?::(\d+))?\}")
_DATE_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    path: str
    span: int = 0
    version: int | None = None


def resolve(pattern: str, span: int | None = None, version: int | None = None) -> Resolved:
    """Finds the path of a span and version, the latest where None.

    Raises:
      DataError: a pattern that says nothing definite, or that nothing matches.
    """
    specs = _check(pattern, span, version)
    if not specs:
        return Resolved(path=pattern)
    regex, wildcard, end = "", "", 0
    for spec in _SPEC.finditer(pattern):
        literal = pattern[end : spec.start()]
        digits = spec[2] or _DATE_DIGITS.get(spec[1])
        regex += (
            re.escape(literal) + f"(?P<{spec[1]}>" + (rf"\d{{{digits}}})" if digits else r"\d+)")
        )
        wildcard += glob.escape(literal) + "*"
        end = spec.end()
    regex += re.escape(pattern[end:])
    wildcard += glob.escape(pattern[end:])
    places = []
    for path in sorted(glob.glob(wildcard)):
        match = re.fullmatch(regex, path)
        number = _span(match.groupdict()) if match else None
        if match and number is not None:
            places.append((number, int(match["VERSION"]) if "VERSION" in specs else None, path))
    matching = [p for p in places if span in (None, p[0]) and version in (None, p[1])]
    if not matching:
        raise DataError(_nothing_found(pattern, span, version, places))
    span, version, path = max(matching, key=lambda p: (p[0], -1 if p[1] is None else p[1]))
    return Resolved(path=path, span=span, version=version)


def _check(pattern: str, span: int | None, version: int | None) -> list[str]:
    specs = [m[1] for m in _SPEC.finditer(pattern)]
    dates = [s for s in specs if s in _DATE_DIGITS]
    where = f"The data path {os.fspath(pattern)!r}"
    if len(set(specs)) != len(specs):
        raise DataError(f"{where} names {max(specs, key=specs.count)} twice; expected once.")
    if dates and (len(dates) < 3 or "SPAN" in specs):
        raise DataError(f"{where}: expected {{SPAN}}, or all of {{YYYY}}, {{MM}} and {{DD}}.")
    if "VERSION" in specs and not dates and "SPAN" not in specs:
        raise DataError(f"{where} has {{VERSION}} but no {{SPAN}}; add {{SPAN}}.")
    if span is not None and not dates and "SPAN" not in specs:
        raise DataError(f"{where} has no {{SPAN}}, but span is set to {span}; remove one.")
    if version is not None and "VERSION" not in specs:
        raise DataError(f"{where} has no {{VERSION}}, but version is set to {version}; remove one.")
    return specs


def _span(groups: dict[str, str]) -> int | None:
    if "SPAN" in groups:
        return int(groups["SPAN"])
    try:
        date = datetime.date(int(groups["YYYY"]), int(groups["MM"]), int(groups["DD"]))
    except ValueError:
        return None
    return (date - _EPOCH).days


def _nothing_found(
    pattern: str, span: int | None, version: int | None, places: list[tuple[int, int | None, str]]
) -> str:
    wanted = f" with span {span}" if span is not None else ""
    wanted += f"{' and' if wanted else ' with'} version {version}" if version is not None else ""
    there = ", ".join(sorted({f"{s}" if v is None else f"{s} (version {v})" for s, v, _ in places}))
    return f"Nothing matches the data path {pattern!r}{wanted}. " + (
        f"Spans there: {there}." if there else "Check the path; spans are whole numbers."
    )
