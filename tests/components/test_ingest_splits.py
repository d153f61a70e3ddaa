"""Splits by content: stable as data grows, never straddled by duplicates."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from components.example_gen.splits import by_hash, plan_splits

pytestmark = pytest.mark.quick

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def sha(n) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


images = st.lists(
    st.tuples(st.integers(0, 60).map(sha), st.sampled_from("abc"), st.none()),
    min_size=12,
    max_size=80,
).filter(lambda images: len({s for s, _, _ in images}) >= 10 and len({x[1] for x in images}) > 1)


def planned(images, digits=0):
    """Plans images that come in parts, by so many digits of their content."""
    parts = {}
    for image in images:
        parts.setdefault(image[0][:digits], []).append(image)
    return plan_splits(parts.values, {given for _, _, given in images}, SHARES)


def splits_of(images, plan):
    return {(s, label): plan.split_of(s, g) for s, label, g in images}


@given(images)
def test_every_split_is_filled_and_every_class_trained(images):
    try:
        plan = planned(images)
    except DataError:
        # Only where each content in train is the last of one of the 3 classes.
        assert len({s for s, _, _ in images if by_hash(s, SHARES) == "train"}) <= 3
        return
    splits = splits_of(images, plan)
    assert set(splits.values()) == set(SHARES)
    for label in {label for _, label, _ in images}:
        assert "train" in {split for (_, x), split in splits.items() if x == label}


@given(images, images)
def test_an_image_stays_where_it_is_as_data_grows(before, added):
    try:
        old, new = planned(before), planned(before + added)
    except DataError:
        return
    for sha256, _, given_split in before:
        if sha256 not in old.moved and sha256 not in new.moved:
            assert old.split_of(sha256, given_split) == new.split_of(sha256, given_split)


@given(images)
def test_the_order_of_images_does_not_matter(images):
    try:
        plan = planned(images)
    except DataError:
        return
    assert planned(images[::-1]) == plan


@given(images)
def test_the_parts_do_not_matter(images):
    try:
        plan = planned(images)
    except DataError:
        with pytest.raises(DataError):
            planned(images, digits=1)
        return
    assert planned(images, digits=1) == plan


def test_shares_are_kept():
    counts = dict.fromkeys(SHARES, 0)
    for n in range(20_000):
        counts[by_hash(sha(n), SHARES)] += 1
    for name, share in SHARES.items():
        # Five standard deviations of a binomial count.
        assert abs(counts[name] - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5


def test_large_data_moves_nothing():
    assert not planned([(sha(n), "ab"[n % 2], None) for n in range(1000)]).moved


def test_missing_splits_are_carved_from_train_alone():
    images = [(sha(n), "ab"[n % 2], "train") for n in range(2000)]
    images += [(sha(-n), "a", "test") for n in range(1, 50)]
    plan = planned(images)
    assert {plan.split_of(s, g) for s, _, g in images if g == "test"} == {"test"}
    carved = [plan.split_of(s, g) for s, _, g in images if g == "train"]
    assert set(carved) == {"train", "val"}
    assert 0.08 < carved.count("val") / 2000 < 0.15  # 0.1 / 0.9 expected


def test_complete_given_splits_are_taken_as_they_are():
    images = [(sha(n), "a", ["train", "val", "test"][n % 3]) for n in range(30)]
    plan = planned(images)
    assert all(plan.split_of(s, g) == g for s, _, g in images) and not plan.moved


def test_a_class_of_one_image_is_trained_on():
    lonely = next(sha(n) for n in range(1000) if by_hash(sha(n), SHARES) == "test")
    images = [(sha(-n), "a", None) for n in range(1, 100)] + [(lonely, "b", None)]
    plan = planned(images)
    assert plan.moved == {lonely: "train"} and plan.split_of(lonely, None) == "train"


def test_too_few_images_say_what_to_do():
    with pytest.raises(DataError, match=r"split 'val' has no images \(2 usable.*Add images"):
        planned([(sha(1), "a", None), (sha(2), "b", None)])


def test_a_given_split_that_lost_its_images():
    images = [(sha(n), "a", "val") for n in range(5)]
    with pytest.raises(DataError, match="split 'train' has no images"):
        planned(images)
