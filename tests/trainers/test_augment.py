"""Properties of the drawn changes, on a NumPy reference of how they are applied."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.augment.draw import draw
from trainers.augment.reference import apply
from trainers.config import AugmentConfig
from trainers.contract import Augmentation, Images

pytestmark = pytest.mark.quick

OFF = AugmentConfig(horizontal_flip=False, crop_padding=0.0)
EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
amounts = st.floats(0, 1).filter(lambda x: x == 0 or x > 1e-3)
configs = st.builds(
    AugmentConfig,
    horizontal_flip=st.booleans(),
    crop_padding=amounts.map(lambda x: x / 2),
    rotation=amounts.map(lambda x: 180 * x),
    zoom=amounts.map(lambda x: 0.9 * x),
    brightness=amounts,
    contrast=amounts,
    saturation=amounts,
)


def images(seed: int, count: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def drawn_for(
    config: AugmentConfig, seed: int, images_NHW3: Images
) -> tuple[Images, Augmentation | None]:
    index_N = np.arange(len(images_NHW3))
    return draw(config, np.random.default_rng(seed), images_NHW3, index_N)


def drawn(config: AugmentConfig, seed: int, count: int, size: tuple[int, int]) -> Augmentation:
    _, augmentation = drawn_for(config, seed, images(0, count, size))
    assert augmentation is not None
    return augmentation


def test_nothing_enabled_draws_nothing() -> None:
    assert drawn_for(OFF, 0, images(0, 4, (8, 8)))[1] is None


def test_parts_that_are_off_are_none() -> None:
    assert drawn(AugmentConfig(), 0, 4, (8, 8)).colour_N34 is None
    only_colour = AugmentConfig(horizontal_flip=False, crop_padding=0.0, contrast=0.1)
    assert drawn(only_colour, 0, 4, (8, 8)).affine_N23 is None


@given(configs, seeds, st.integers(0, 5), sizes)
@EXAMPLES
def test_shapes_and_determinism(
    config: AugmentConfig, seed: int, count: int, size: tuple[int, int]
) -> None:
    first, second = (drawn_for(config, seed, images(0, count, size))[1] for _ in range(2))
    if first is None or second is None:
        assert not config.enabled
        return
    for part, again, shape in (
        (first.affine_N23, second.affine_N23, (count, 2, 3)),
        (first.colour_N34, second.colour_N34, (count, 3, 4)),
    ):
        if part is not None:
            assert part.shape == shape and part.dtype == np.float32
            assert np.isfinite(part).all()
            np.testing.assert_array_equal(part, again)


def test_another_seed_draws_other_changes() -> None:
    one, other = (drawn(AugmentConfig(rotation=10), seed, 4, (8, 8)) for seed in (0, 1))
    assert not np.array_equal(one.affine_N23, other.affine_N23)


@given(seeds, sizes)
@EXAMPLES
def test_flips_are_exact_undo_themselves_and_happen_to_half(
    seed: int, size: tuple[int, int]
) -> None:
    config = AugmentConfig(horizontal_flip=True, crop_padding=0.0)
    augmentation = drawn(config, seed, 200, size)
    originals = images(seed, 200, size)
    once = apply(originals, augmentation)
    flipped = augmentation.affine_N23[:, 0, 0] < 0  # type: ignore[index]
    assert 50 < flipped.sum() < 150
    np.testing.assert_array_equal(once[flipped], originals[flipped][:, :, ::-1])
    np.testing.assert_array_equal(once[~flipped], originals[~flipped])
    np.testing.assert_array_equal(apply(once, augmentation), originals)


@given(seeds, sizes, st.floats(0.01, 0.5))
@EXAMPLES
def test_crops_are_whole_shifts_of_a_padded_image(
    seed: int, size: tuple[int, int], padding: float
) -> None:
    config = AugmentConfig(horizontal_flip=False, crop_padding=padding)
    augmentation = drawn(config, seed, 6, size)
    originals = images(seed, 6, size)
    (height, width), most = size, [round(padding * side) for side in size]
    padded = np.pad(originals, [(0, 0), *((m, m) for m in most), (0, 0)])
    for i, (result, affine) in enumerate(
        zip(apply(originals, augmentation), augmentation.affine_N23, strict=True)  # type: ignore[arg-type]
    ):
        np.testing.assert_array_equal(affine[:, :2], np.eye(2))
        dx, dy = affine[:, 2].astype(int)
        assert abs(dy) <= most[0] and abs(dx) <= most[1]
        crop = padded[i, most[0] + dy :, most[1] + dx :][:height, :width]
        np.testing.assert_array_equal(result, crop)


def test_every_shift_is_drawn() -> None:
    config = AugmentConfig(horizontal_flip=False, crop_padding=0.125)
    shifts = drawn(config, 0, 2000, (16, 32)).affine_N23[:, :, 2]  # type: ignore[index]
    assert set(shifts[:, 0]) == set(range(-4, 5))
    assert set(shifts[:, 1]) == set(range(-2, 3))


@given(seeds, sizes, st.floats(1, 180), st.floats(0.01, 0.9))
@EXAMPLES
def test_turns_keep_the_centre_and_stay_within_their_limits(
    seed: int, size: tuple[int, int], rotation: float, zoom: float
) -> None:
    config = AugmentConfig(horizontal_flip=False, crop_padding=0.0, rotation=rotation, zoom=zoom)
    affine = drawn(config, seed, 8, size).affine_N23
    assert affine is not None
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2, 1])
    np.testing.assert_allclose(affine @ centre, np.tile(centre[:2], (8, 1)), atol=1e-3)
    linear = affine[:, :, :2].astype(float)
    scale = 1 / np.sqrt(np.linalg.det(linear))
    assert (scale >= 1 - zoom - 1e-4).all() and (scale <= 1 + zoom + 1e-4).all()
    angle = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert (abs(angle) <= rotation + 1e-3).all()


def test_quarter_turn_moves_pixels_as_np_rot90() -> None:
    originals = images(0, 1, (5, 5))
    quarter = np.array([[[0, -1, 4], [1, 0, 0]]], np.float32)
    turned = apply(originals, Augmentation(affine_N23=quarter))
    np.testing.assert_array_equal(turned[0], np.rot90(originals[0]))


def test_flip_comes_before_shift_before_turn() -> None:
    config = AugmentConfig(crop_padding=0.5, rotation=90, zoom=0.5)
    affine = drawn(config, 3, 50, (8, 6)).affine_N23
    rng = np.random.default_rng(3)
    flips = rng.random(50) < 0.5
    dy, dx = rng.integers(-4, 4, 50, endpoint=True), rng.integers(-3, 3, 50, endpoint=True)
    angles, scales = rng.uniform(-90, 90, 50), rng.uniform(0.5, 1.5, 50)
    point = np.array([1.0, 2.0])
    for i in range(50):
        turn = np.deg2rad(angles[i])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centre = np.array([2.5, 3.5])
        source = centre + rotation @ (point - centre) / scales[i] + (dx[i], dy[i])
        if flips[i]:
            source[0] = 5 - source[0]
        np.testing.assert_allclose(affine[i] @ [*point, 1], source, atol=1e-4)  # type: ignore[index]


@given(seeds, st.floats(0.01, 1))
@EXAMPLES
def test_saturation_keeps_greys_and_luma(seed: int, saturation: float) -> None:
    config = AugmentConfig(horizontal_flip=False, crop_padding=0.0, saturation=saturation)
    colour = drawn(config, seed, 4, (2, 2)).colour_N34
    assert colour is not None
    grey = np.array([0.3, 0.3, 0.3, 1])
    np.testing.assert_allclose(colour @ grey, np.tile(grey[:3], (4, 1)), atol=1e-6)
    luma = np.array([0.299, 0.587, 0.114])
    rgb = np.array([0.9, 0.2, 0.4, 1])
    np.testing.assert_allclose((colour @ rgb) @ luma, np.full(4, rgb[:3] @ luma), atol=1e-6)


@pytest.mark.parametrize(("name", "fixed"), [("brightness", 0.0), ("contrast", 0.5)])
def test_brightness_scales_from_black_and_contrast_from_mid_grey(name: str, fixed: float) -> None:
    config = AugmentConfig(horizontal_flip=False, crop_padding=0.0, **{name: 0.4})
    colour = drawn(config, 0, 100, (2, 2)).colour_N34
    assert colour is not None
    still = colour @ np.array([fixed, fixed, fixed, 1])
    np.testing.assert_allclose(still, fixed, atol=1e-6)
    factors = colour[:, 0, 0]
    assert 0.6 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.4


def test_brightness_comes_before_contrast_before_saturation() -> None:
    config = AugmentConfig(
        horizontal_flip=False, crop_padding=0.0, brightness=0.5, contrast=0.5, saturation=0.5
    )
    colour = drawn(config, 7, 5, (2, 2)).colour_N34
    rng = np.random.default_rng(7)
    brightness, contrast, saturation = (rng.uniform(0.5, 1.5, 5) for _ in range(3))
    rgb = np.array([0.9, 0.2, 0.4])
    for i in range(5):
        changed = 0.5 + contrast[i] * (brightness[i] * rgb - 0.5)
        luma = changed @ [0.299, 0.587, 0.114]
        changed = luma + saturation[i] * (changed - luma)
        np.testing.assert_allclose(colour[i] @ [*rgb, 1], changed, atol=1e-6)  # type: ignore[index]
