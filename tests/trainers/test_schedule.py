"""The learning rate: linear warm-up, then half a cosine."""

from __future__ import annotations

import math

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from trainers.schedules import learning_rate

pytestmark = pytest.mark.quick


def test_values_by_hand():
    rates = [learning_rate(s, peak=2.0, steps=12, warmup=4) for s in range(12)]
    half = math.sqrt(0.5)
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[4] == pytest.approx(2.0)  # the cosine starts at the peak
    assert rates[6] == pytest.approx(1 + half)
    assert rates[8] == pytest.approx(1.0)  # and is at half of it in the middle
    assert rates[10] == pytest.approx(1 - half)
    assert rates[11] == pytest.approx(1 - math.cos(math.pi / 8))


def test_without_warmup_it_starts_at_the_peak():
    assert learning_rate(0, peak=0.1, steps=5, warmup=0) == pytest.approx(0.1)
    assert learning_rate(0, peak=0.1, steps=1, warmup=0) == pytest.approx(0.1)


@EXAMPLES
@given(st.integers(1, 300), st.integers(0, 60), st.floats(1e-6, 10))
def test_it_rises_then_falls_and_stays_within_the_peak(steps, warmup, peak):
    warmup = min(warmup, steps // 5)
    rates = [learning_rate(s, peak=peak, steps=steps, warmup=warmup) for s in range(steps)]
    assert all(0 < r <= peak * (1 + 1e-9) for r in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == pytest.approx(peak)
