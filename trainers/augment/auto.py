"""TrivialAugment and RandAugment, taken apart into what a batch's other changes are made of.

Müller & Hutter, "TrivialAugment" (2021), and Cubuk et al., "RandAugment" (2020), with the
changes and the ranges that torchvision has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from trainers.augment import colours
from trainers.augment.geometry import Matrices, identities, turns
from trainers.config import AugmentConfig
from trainers.contract import Images

BINS = 31
"""Strengths of a change, from none to the largest."""
CHANGES = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "saturation", "contrast", "sharpness"),
    *("posterize", "solarize", "autocontrast", "equalize"),
)
_TRIVIAL = {"shear": 0.99, "translate": 32.0, "rotate": 135.0, "colour": 0.99, "bits": 6.0}
_RAND = {"shear": 0.3, "rotate": 30.0, "colour": 0.9, "bits": 4.0}
_RAND_TRANSLATE = 150 / 331
"""Of the image's side."""


@dataclass(frozen=True, slots=True)
class Auto:
    """What the changes that were drawn come down to."""

    images_NHW3: Images
    """With the changes that neither a matrix nor a blur can say."""
    maps_N33: Matrices
    colours_N44: Matrices
    sharpness_N: NDArray[np.float64]


def draw(config: AugmentConfig, rng: np.random.Generator, images_NHW3: Images) -> Auto:
    """Draws and takes apart the changes of each image."""
    count = len(images_NHW3)
    ops = config.rand_ops if config.auto == "rand" else 1
    names_NK = rng.integers(len(CHANGES), size=(count, ops))
    if config.auto == "rand":
        strengths_NK = np.full((count, ops), config.rand_magnitude)
    else:
        strengths_NK = rng.integers(BINS, size=(count, ops))
    signs_NK = rng.choice([-1.0, 1.0], (count, ops))
    drawn = [
        [
            (CHANGES[name], amount(CHANGES[name], config.auto, strength, images_NHW3.shape), sign)
            for name, strength, sign in zip(*row, strict=True)
        ]
        for row in zip(names_NK, strengths_NK, signs_NK, strict=True)
    ]
    return apart(images_NHW3, drawn)


def amount(name: str, auto: str, strength: int, shape: tuple[int, ...]) -> float:
    """Returns how large a change of a strength is, from 0 to `BINS` - 1.

    Args:
      shape: of the images, N×H×W×3.
    """
    share = strength / (BINS - 1)
    largest: Mapping[str, float] = _TRIVIAL if auto == "trivial" else _RAND
    if name.startswith("translate"):
        side = shape[2 if name.endswith("x") else 1]
        return int(share * largest.get("translate", _RAND_TRANSLATE * side))
    if name == "posterize":
        return 8 - round(share * largest["bits"])
    if name == "solarize":
        return 255 * (1 - share)
    kind = name.partition("_")[0]
    return share * largest.get(kind, largest["colour"])


def apart(images_NHW3: Images, drawn: list[list[tuple[str, float, float]]]) -> Auto:
    """Sorts changes (name, amount, sign) of each image by what can express them.

    Changes of different kinds are made in the order of `contract.Augmentation`, whatever
    the order in which they were drawn; of two sharpenings the factors are multiplied.
    """
    count, height, width, _ = images_NHW3.shape
    images = images_NHW3
    maps, colour_maps = identities(count, 3), identities(count, 4)
    sharpness_N = np.ones(count)
    for i, changes in enumerate(drawn):
        for name, size, sign in changes:
            by = np.array([sign * size])
            if name in _TONES:
                if images is images_NHW3:
                    images = images_NHW3.copy()
                images[i] = np.asarray(_TONES[name](Image.fromarray(images[i]), size))
            elif name in ("brightness", "saturation", "contrast"):
                grey = 0.5
                if name == "contrast":
                    grey = images[i].mean(axis=(0, 1)) @ colours.LUMA / 255
                change = colours.towards(colours.target(name, grey), 1 + by)[0]
                colour_maps[i] = change @ colour_maps[i]
            elif name == "sharpness":
                sharpness_N[i] *= 1 + sign * size
            elif name == "rotate":
                maps[i] = maps[i] @ turns(np.deg2rad(by), np.ones(1), (height, width))[0]
            elif name != "identity":
                maps[i] = maps[i] @ _moved(name, sign * size)
    return Auto(images, maps, colour_maps, sharpness_N)


def _moved(name: str, by: float) -> NDArray[np.float64]:
    kind, _, axis = name.partition("_")
    row = "xy".index(axis)
    result = np.eye(3)
    if kind == "translate":
        result[row, 2] = -by
    else:  # About the corner, half a pixel from the first pixel's centre.
        result[row, 1 - row], result[row, 2] = by, by / 2
    return result


_TONES: Mapping[str, Callable[[Image.Image, float], Image.Image]] = {
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "solarize": lambda image, least: ImageOps.solarize(image, math.ceil(least)),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
}
