"""The interval of an accuracy is Wilson's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from components.evaluator.result import wilson

COUNTS = [(0, 1), (1, 1), (0, 30), (29, 30), (30, 30), (179, 184), (9_000, 10_000)]


@pytest.mark.parametrize(("hits", "images"), COUNTS)
def test_it_is_scipys(hits: int, images: int) -> None:
    expected = binomtest(hits, images).proportion_ci(method="wilson")
    assert wilson(hits / images, images) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("hits", "images"), COUNTS)
def test_it_holds_the_share_and_stays_within_0_and_1(hits: int, images: int) -> None:
    low, high = wilson(hits / images, images)
    assert 0 <= low <= hits / images <= high <= 1
