"""Each change of TrivialAugment and RandAugment beside torchvision's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainers.augment import auto, colours, geometry
from trainers.augment.draw import draw
from trainers.augment.reference import apply
from trainers.config import AugmentConfig
from trainers.contract import Augmentation

SIZE = (24, 30)


def photograph() -> np.ndarray:
    """Soft shapes, a little noise, dull colours: what autocontrast and equalize have work with."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices(SIZE) / 8
    planes = [np.sin(rows + k) * np.cos(columns * (1 + k / 3)) for k in range(3)]
    image = 120 + 50 * np.stack(planes, axis=2) + rng.normal(0, 4, (*SIZE, 3))
    return image.clip(0, 255).astype(np.uint8)


def changed(name: str, amount: float, sign: float) -> np.ndarray:
    found = auto.apart(photograph()[None], [[(name, amount, sign)]])
    augmentation = Augmentation(
        affine_N23=geometry.compose([found.maps_N33])[:, :2].astype(np.float32),
        colour_N34=colours.compose([found.colours_N44])[:, :3].astype(np.float32),
        sharpness_N=found.sharpness_N.astype(np.float32),
    )
    return apply(found.images_NHW3, augmentation)[0]


@pytest.mark.parametrize("kind", ["trivial", "rand"])
@pytest.mark.parametrize("name", auto.CHANGES)
def test_changes_are_those_of_torchvision(kind: str, name: str) -> None:
    import torch
    from torchvision.transforms import InterpolationMode, v2

    names = {"saturation": "Color", "autocontrast": "AutoContrast"}
    theirs = names.get(name, "".join(part.capitalize() for part in name.split("_")))
    policy: Any = v2.TrivialAugmentWide() if kind == "trivial" else v2.RandAugment()
    space = policy._AUGMENTATION_SPACE
    image = torch.from_numpy(photograph()).permute(2, 0, 1)
    scale = 255 if name == "solarize" else 1
    for strength in (3, 9, 21):
        make, signed = space[theirs]
        magnitudes = make(31, *SIZE)
        amount = auto.amount(name, kind, strength, (1, *SIZE, 3))
        if magnitudes is not None:
            expected = float(magnitudes[strength])
            # As torchvision applies it, in whole pixels.
            expected = int(expected) if name.startswith("translate") else expected
            assert amount == pytest.approx(expected * scale, abs=1e-4)
        for sign in (1, -1) if signed else (1,):
            result = policy._apply_image_or_video_transform(
                image, theirs, sign * amount / scale, InterpolationMode.BILINEAR, {}
            )
            difference = abs(changed(name, amount, sign) - result.permute(1, 2, 0).numpy())
            # Rounding; and of turned images the outermost pixels.
            assert np.quantile(difference, 0.9) <= 1.5, (strength, sign)
            assert difference.mean() < 2, (strength, sign)


def test_trivial_draws_every_change_about_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(auto, "apart", lambda images, drawn: seen.extend(drawn))
    images = np.zeros((2800, 2, 2, 3), np.uint8)
    auto.draw(AugmentConfig(auto="trivial"), np.random.default_rng(0), images)
    names = [name for ((name, _, _),) in seen]
    assert all(140 < names.count(name) < 260 for name in auto.CHANGES)


def test_the_images_that_were_read_are_not_changed() -> None:
    images = np.stack([photograph()] * 30)
    config = AugmentConfig(auto="rand", rand_ops=3)
    changed_images, _ = draw(config, np.random.default_rng(0), images, np.arange(30))
    assert (images == photograph()).all()
    assert not (changed_images == images).all()


@pytest.mark.parametrize("name", ["hue", "grayscale"])
def test_hue_keeps_luma_and_greys_and_grayscale_leaves_luma(name: str) -> None:
    amount = 0.5 if name == "hue" else 1.0
    off = {"horizontal_flip": False, "crop_padding": 0.0}
    images = np.stack([photograph()] * 4)
    _, augmentation = draw(
        AugmentConfig(**off, **{name: amount}), np.random.default_rng(1), images, np.arange(4)
    )
    assert augmentation is not None and augmentation.colour_N34 is not None
    colour = augmentation.colour_N34.astype(float)
    rgb = np.array([0.5, 0.4, 0.6])
    new = colour @ [*rgb, 1]
    np.testing.assert_allclose(new @ colours.LUMA, np.full(4, rgb @ colours.LUMA), atol=1e-3)
    np.testing.assert_allclose(colour @ [0.3, 0.3, 0.3, 1], np.full((4, 3), 0.3), atol=1e-3)
    if name == "grayscale":
        np.testing.assert_allclose(new, np.full((4, 3), rgb @ colours.LUMA), atol=1e-6)
    else:
        assert np.abs(new - rgb).max() > 0.1
