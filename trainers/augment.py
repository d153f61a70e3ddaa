"""Draws the random changes of a training batch; a backend only applies them.

Every geometric change is an affine map and every colour change an affine map
of (r, g, b), so a draw is two small matrices per image whatever is enabled,
and both frameworks see the same images for the same seed.

Shape suffixes: N batch; 23, 34: rows and columns of a matrix.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from trainers.config import AugmentConfig
from trainers.contract import Augmentation, Floats

Matrices = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of (r, g, b) in brightness, ITU-R BT.601, as JPEG and Pillow have it."""


def draw(
    config: AugmentConfig, rng: np.random.Generator, count: int, image_size: tuple[int, int]
) -> Augmentation | None:
    """Draws one change for each image of a batch.

    An image is flipped, shifted by whole pixels, then turned and zoomed about
    its centre; then brightened, contrasted about mid-grey and saturated.

    Args:
      count: images in the batch.
      image_size: height and width in pixels.

    Returns:
      The maps as `Augmentation` defines them; None where nothing is enabled,
      and for each part of which nothing is.
    """
    if not config.enabled:
        return None
    return Augmentation(
        affine_N23=_affine(config, rng, count, image_size),
        colour_N34=_colour(config, rng, count),
    )


def _affine(
    config: AugmentConfig, rng: np.random.Generator, count: int, image_size: tuple[int, int]
) -> Floats | None:
    # A point of the output is followed back to the input, so the last change
    # made to the image is the first one applied to the point.
    height, width = image_size
    maps: list[Matrices] = []
    if config.horizontal_flip:
        maps.append(_flips(rng.random(count) < 0.5, width))
    if config.crop_padding:
        maps.append(_shifts(rng, count, config.crop_padding, image_size))
    if config.rotation or config.zoom:
        degrees = rng.uniform(-config.rotation, config.rotation, count)
        scale_N = rng.uniform(1 - config.zoom, 1 + config.zoom, count)
        maps.append(_turns(np.deg2rad(degrees), scale_N, ((width - 1) / 2, (height - 1) / 2)))
    return _compose(maps, rows=2)


def _colour(config: AugmentConfig, rng: np.random.Generator, count: int) -> Floats | None:
    black, grey, luma = np.zeros((3, 3, 4))
    grey[:, 3] = 0.5
    luma[:, :3] = LUMA
    changes = ((config.brightness, black), (config.contrast, grey), (config.saturation, luma))
    maps = [
        _towards(target_34, rng.uniform(1 - most, 1 + most, count))
        for most, target_34 in changes
        if most
    ]
    return _compose(maps[::-1], rows=3)


def _compose(maps: list[Matrices], rows: int) -> Floats | None:
    """Returns the product of homogeneous matrices, without its last row."""
    if not maps:
        return None
    return functools.reduce(np.matmul, maps)[:, :rows].astype(np.float32)


def _flips(flip_N: NDArray[np.bool_], width: int) -> Matrices:
    maps = _identities(len(flip_N), 3)
    maps[flip_N, 0, 0] = -1
    maps[flip_N, 0, 2] = width - 1
    return maps


def _shifts(
    rng: np.random.Generator, count: int, padding: float, image_size: tuple[int, int]
) -> Matrices:
    maps = _identities(count, 3)
    for row, size in ((1, image_size[0]), (0, image_size[1])):
        most = round(padding * size)
        maps[:, row, 2] = rng.integers(-most, most, count, endpoint=True)
    return maps


def _turns(
    radians_N: NDArray[np.float64], scale_N: NDArray[np.float64], centre: tuple[float, float]
) -> Matrices:
    cos_N, sin_N = np.cos(radians_N) / scale_N, np.sin(radians_N) / scale_N
    x, y = centre
    maps = _identities(len(radians_N), 3)
    maps[:, 0] = np.stack([cos_N, -sin_N, x - cos_N * x + sin_N * y], axis=1)
    maps[:, 1] = np.stack([sin_N, cos_N, y - sin_N * x - cos_N * y], axis=1)
    return maps


def _towards(target_34: NDArray[np.float64], factor_N: NDArray[np.float64]) -> Matrices:
    """Moves colours from `target_34` (factor 0) through themselves (1) and beyond."""
    maps = _identities(len(factor_N), 4)
    factor_N11 = factor_N[:, None, None]
    maps[:, :3] = factor_N11 * maps[:, :3] + (1 - factor_N11) * target_34
    return maps


def _identities(count: int, size: int) -> Matrices:
    return np.tile(np.eye(size), (count, 1, 1))
