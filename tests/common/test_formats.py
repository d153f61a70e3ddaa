"""Values as people read them."""

from __future__ import annotations

import pytest

from common import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1798172672, "1.8 GB")),
        *((999_960, "1.0 MB"), (5e15, "5000.0 TB")),
    ],
)
def test_sizes(value: float, text: str) -> None:
    assert formats.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.04, "0.04 s"), (0.1, "0.1 s"), (59.94, "59.9 s")),
        *((59.97, "1 min 00 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_moments_and_what_is_not_recorded() -> None:
    assert formats.moment("2026-11-23T20:01:12+00:00") == "2026-11-23 20:01:12Z"
    assert formats.minute("2026-11-23T20:01:12+00:00") == "2026-11-23 20:01"
    assert (formats.known(None), formats.cell(None)) == ("not recorded", "-")
    assert formats.known(0.5, formats.share) == "0.5000"


def test_settings_are_flat_and_written_as_json() -> None:
    table = {"b": {"y": None, "x": 1e-3}, "a": "text", "c": {}, "d": [True, "s"]}
    assert list(formats.flat(table)) == [
        *(("a", "text"), ("b.x", "0.001"), ("b.y", "null")),
        *(("c", "{}"), ("d", '[true, "s"]')),
    ]
