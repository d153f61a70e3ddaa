"""Erasing, mixing, crops, alternating flips: what is drawn, and what becomes of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from trainers.augment import geometry, mixing
from trainers.augment.draw import draw
from trainers.augment.reference import apply
from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import Augmentation, Batch
from trainers.data import Split, batches
from trainers.frameworks import APPLIES, frameworks

pytestmark = pytest.mark.quick

OFF: dict[str, Any] = {"horizontal_flip": False, "crop_padding": 0.0}
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
alphas = st.floats(1e-3, 50)


def images(count: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def drawn(count: int = 50, size: tuple[int, int] = (8, 8), seed: int = 0, **on: Any) -> Any:
    rng, config = np.random.default_rng(seed), AugmentConfig(**OFF, **on)
    return draw(config, rng, images(count, size), np.arange(count))[1]


def epoch(number: int, count: int = 40, **values: Any) -> list[Batch]:
    config = TrainConfig(framework="keras", model="small_cnn", batch_size=8, **values)
    split = Split(images(count), np.arange(count) % 4)
    weights_C = np.array([1, 2, 3, 4], np.float32)
    return list(batches(split, config, weights_C, epoch=number))


@EXAMPLES
@given(seeds, sizes, alphas, alphas)
def test_mixed_targets_and_weights_have_the_shares_that_the_images_have(
    seed: int, size: tuple[int, int], mixup: float, cutmix: float
) -> None:
    mix = drawn(6, size, seed, mixup=mixup, cutmix=cutmix).mix
    labels_N = np.arange(6)
    batch = Batch(
        images(6, size), labels_N, np.eye(6, dtype=np.float32), np.arange(6, dtype=np.float32),
        Augmentation(mix=mix),
    )  # fmt: skip
    after = mixing.mixed(batch)
    # An image all white beside black ones: what is left of it is its share.
    for i in range(6):
        white = np.zeros((6, *size, 3), np.uint8)
        white[i] = 255
        shares_N = apply(white, Augmentation(mix=mix)).mean(axis=(1, 2, 3)) / 255
        np.testing.assert_allclose(after.targets_NC[:, i], shares_N, atol=1e-5)
    np.testing.assert_allclose(after.targets_NC.sum(axis=1), np.ones(6), atol=1e-6)
    np.testing.assert_allclose(after.weights_N, after.targets_NC @ np.arange(6), atol=1e-5)
    assert after.targets_NC.dtype == after.weights_N.dtype == np.float32
    largest_N = after.targets_NC.max(axis=1)
    np.testing.assert_allclose(after.targets_NC[range(6), after.labels_N], largest_N, atol=1e-6)


def test_both_mixes_are_drawn_and_each_alone() -> None:
    both = [drawn(seed=seed, mixup=1.0, cutmix=1.0).mix.share == 0 for seed in range(60)]
    assert 15 < sum(both) < 45
    assert all(drawn(seed=seed, cutmix=1.0).mix.share == 0 for seed in range(9))
    assert all(drawn(seed=seed, mixup=1.0).mix.share > 0 for seed in range(9))


@EXAMPLES
@given(seeds, sizes, st.floats(0.05, 1), st.floats(0.1, 5))
def test_rectangles_lie_within_the_image(
    seed: int, size: tuple[int, int], scale: float, ratio: float
) -> None:
    rng = np.random.default_rng(seed)
    boxes = geometry.rectangles(rng, 20, size, (scale, 1), (ratio, 2 * ratio))
    top, bottom, left, right = boxes.T
    assert (top >= 0).all() and (top < bottom).all() and (bottom <= size[0]).all()
    assert (left >= 0).all() and (left < right).all() and (right <= size[1]).all()


def test_rectangles_have_the_areas_and_ratios_asked_for() -> None:
    rng = np.random.default_rng(0)
    boxes = geometry.rectangles(rng, 500, (200, 300), (0.1, 0.2), (2, 3))
    top, bottom, left, right = boxes.T
    area, ratio = (bottom - top) * (right - left) / 60_000, (right - left) / (bottom - top)
    assert 0.098 < area.min() < 0.105 and 0.195 < area.max() < 0.202
    assert 1.97 < ratio.min() < 2.1 and 2.9 < ratio.max() < 3.05


def test_erasing_happens_as_often_as_asked_and_cutout_always() -> None:
    erase = drawn(400, random_erasing=0.25).erase
    empty = (erase.boxes_NB4 == 0).all(axis=(1, 2))
    assert 260 < empty.sum() < 340 and (erase.paint_HW3 == 0.5).all()
    boxes = drawn(400, (9, 20), cutout=0.5, erasing_fill="noise", random_erasing=1.0).erase
    assert boxes.boxes_NB4.shape == (400, 2, 4) and np.ptp(boxes.paint_HW3) > 0.9
    sides = boxes.boxes_NB4[:, 1, 1::2] - boxes.boxes_NB4[:, 1, ::2]
    assert sides.max() == 4 and sides.min() >= 2


def test_a_resized_crop_shows_a_part_and_nothing_black() -> None:
    size = (20, 30)
    augmentation = drawn(50, size, random_resized_crop=True, crop_scale=[0.2, 1.0])
    white = np.full((50, *size, 3), 255, np.uint8)
    np.testing.assert_allclose(apply(white, augmentation), 255, atol=0.01)
    scales = augmentation.affine_N23[:, [0, 1], [0, 1]]
    assert (scales <= 1 + 1e-6).all() and scales.prod(axis=1).min() < 0.3


def test_a_resized_crop_is_torchvisions_but_for_half_a_pixel() -> None:
    whole = drawn(5, (7, 9), random_resized_crop=True, crop_scale=[1, 1], crop_ratio=[9 / 7, 9 / 7])
    np.testing.assert_allclose(whole.affine_N23, np.tile(np.eye(2, 3), (5, 1, 1)), atol=1e-6)


def test_a_vertical_flip_turns_half_upside_down() -> None:
    result = apply(images(60), drawn(60, vertical_flip=True))
    flipped = [np.array_equal(a, b[::-1]) for a, b in zip(result, images(60), strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(result, images(60), strict=True)]
    assert 15 < sum(flipped) < 45 and sum(flipped) + sum(kept) == 60


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    config = AugmentConfig(horizontal_flip="alternating", crop_padding=0.0)
    flipped = []
    for number in (1, 2, 3):
        order = np.random.default_rng(number).permutation(100)
        augmentation = draw(
            config, np.random.default_rng(number), images(100), order, epoch=number, seed=5
        )[1]
        assert augmentation is not None and augmentation.affine_N23 is not None
        flipped.append((augmentation.affine_N23[:, 0, 0] < 0)[np.argsort(order)])
    assert 30 < flipped[0].sum() < 70
    assert (flipped[1] == ~flipped[0]).all() and (flipped[2] == flipped[0]).all()
    others = geometry.first_flips(np.arange(100), 6) != geometry.first_flips(np.arange(100), 5)
    assert 25 < others.sum() < 75


def test_the_last_epochs_see_the_images_as_they_are() -> None:
    augment = AugmentConfig(mixup=1.0, off_epochs=2)
    for number, off in ((1, False), (3, False), (4, True), (5, True)):
        for batch in epoch(number, epochs=5, augment=augment):
            assert (batch.augmentation is None) == off
            assert (set(batch.targets_NC.max(axis=1)) == {1}) == off


def test_equal_seeds_mix_alike() -> None:
    augment = AugmentConfig(mixup=1.0, cutmix=1.0, auto="rand", cutout=0.2, erasing_fill="noise")
    for one, same in zip(epoch(2, augment=augment), epoch(2, augment=augment), strict=True):
        np.testing.assert_array_equal(one.images_NHW3, same.images_NHW3)
        np.testing.assert_array_equal(one.targets_NC, same.targets_NC)
        a, b = one.augmentation, same.augmentation
        assert a and b and a.erase and b.erase and a.mix and b.mix
        np.testing.assert_array_equal(a.erase.paint_HW3, b.erase.paint_HW3)
        np.testing.assert_array_equal(a.mix.partner_N, b.mix.partner_N)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 1, "augment": {"mixup": 1.0}}, "a train.batch_size of 2 or more, got 1"),
        ({"epochs": 3, "augment": {"off_epochs": 3}}, r"fewer than train.epochs \(3\), got 3"),
        ({"augment": {"crop_scale": [0.5, 0.1]}}, "crop_scale: expected the smaller number first"),
        ({"augment": {"erasing_scale": [0, 0.1]}}, "erasing_scale.* more than 0 and at most 1"),
        ({"augment": {"horizontal_flip": "sometimes"}}, "horizontal_flip.*'alternating'"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    from common.config.strict import parse

    with pytest.raises(ConfigError, match=message):
        parse(TrainConfig, {"framework": "keras", "model": "small_cnn", **values})


@pytest.mark.parametrize("part", [*sorted(APPLIES - {"warp", "colours"}), "warp"])
def test_a_framework_is_not_asked_for_what_it_does_not_apply(
    part: str,
) -> None:
    asked: dict[str, Any] = {
        "warp": {"augment": AugmentConfig()},
        "reflection": {"augment": AugmentConfig(fill="reflect")},
        "sharpness": {"augment": AugmentConfig(auto="trivial")},
        "erasing": {"augment": AugmentConfig(cutout=0.5)},
        "mixing": {"augment": AugmentConfig(cutmix=1.0)},
        "mirror": {"test_time_augmentation": "flip"},
    }[part]
    TrainConfig(framework="keras", model="small_cnn", **asked)
    keras = frameworks()["keras"]
    object.__setattr__(keras, "applies", APPLIES - {part})
    try:
        with pytest.raises(ConfigError, match=f"the framework keras cannot apply {part}"):
            TrainConfig(framework="keras", model="small_cnn", **asked)
    finally:
        object.__setattr__(keras, "applies", APPLIES)
