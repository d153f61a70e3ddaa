"""Geometric changes as 3×3 matrices, which follow a point of the output back to the input."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from trainers.config import AugmentConfig

Matrices = NDArray[np.float64]
_ATTEMPTS = 10
"""Rectangles are drawn so often until one fits, as in torchvision."""


def maps(
    config: AugmentConfig,
    rng: np.random.Generator,
    image_size: tuple[int, int],
    index_N: NDArray[np.int64],
    *,
    epoch: int,
    seed: int,
) -> list[Matrices]:
    """Draws the changes, in the order in which they are made to an image."""
    count, (height, width) = len(index_N), image_size
    drawn: list[Matrices] = []
    if config.horizontal_flip == "alternating":
        drawn.append(_flips((first_flips(index_N, seed) + epoch) % 2 == 0, 0, width))
    elif config.horizontal_flip:
        drawn.append(_flips(rng.random(count) < 0.5, 0, width))
    if config.vertical_flip:
        drawn.append(_flips(rng.random(count) < 0.5, 1, height))
    if config.random_resized_crop:
        boxes_N4 = rectangles(rng, count, image_size, config.crop_scale, config.crop_ratio)
        drawn.append(_crops(boxes_N4, image_size))
    elif config.crop_padding:
        drawn.append(_shifts(rng, count, config.crop_padding, image_size))
    if config.rotation or config.zoom:
        degrees = rng.uniform(-config.rotation, config.rotation, count)
        scale_N = rng.uniform(1 - config.zoom, 1 + config.zoom, count)
        drawn.append(turns(np.deg2rad(degrees), scale_N, image_size))
    return drawn


def compose(changes: list[Matrices]) -> Matrices:
    """Returns the product: the last change made to an image is the first made to a point."""
    return functools.reduce(np.matmul, changes)


def first_flips(index_N: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Returns 1 for the images that are mirrored in the first epoch, and 0 for the others.

    By a hash of the place of the image among those of the split (SplitMix64), so that it
    does not depend on how many there are.
    """
    with np.errstate(over="ignore"):
        x_N = index_N.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x_N >> np.uint64(32)) & np.uint64(1)).astype(np.int64)


def rectangles(
    rng: np.random.Generator,
    count: int,
    image_size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> NDArray[np.int64]:
    """Draws rectangles within the image: top, bottom, left, right, N×4.

    Args:
      scale: least and largest area, as shares of the image's.
      ratio: least and largest width / height, drawn on a logarithmic scale.
    """
    shape = (_ATTEMPTS, count)
    area = rng.uniform(*scale, shape) * image_size[0] * image_size[1]
    ratios = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), shape))
    sides = np.stack([np.sqrt(area / ratios), np.sqrt(area * ratios)]).round()
    fits = (sides <= np.reshape(image_size, (2, 1, 1))).all(axis=0)
    first_N = fits.argmax(axis=0)
    sizes_2N = sides[:, first_N, np.arange(count)].astype(np.int64)
    sizes_2N = np.clip(sizes_2N, 1, np.reshape(image_size, (2, 1)))
    starts_2N = rng.integers(0, np.reshape(image_size, (2, 1)) - sizes_2N, endpoint=True)
    return np.stack([starts_2N, starts_2N + sizes_2N], axis=1).reshape(4, count).T


def turns(
    radians_N: NDArray[np.float64], scale_N: NDArray[np.float64], image_size: tuple[int, int]
) -> Matrices:
    """Turns counter-clockwise and enlarges, about the image's centre."""
    cos_N, sin_N = np.cos(radians_N) / scale_N, np.sin(radians_N) / scale_N
    y, x = ((side - 1) / 2 for side in image_size)
    result = identities(len(radians_N), 3)
    result[:, 0] = np.stack([cos_N, -sin_N, x - cos_N * x + sin_N * y], axis=1)
    result[:, 1] = np.stack([sin_N, cos_N, y - sin_N * x - cos_N * y], axis=1)
    return result


def identities(count: int, size: int) -> Matrices:
    return np.tile(np.eye(size), (count, 1, 1))


def _flips(flip_N: NDArray[np.bool_], axis: int, side: int) -> Matrices:
    result = identities(len(flip_N), 3)
    result[flip_N, axis, axis] = -1
    result[flip_N, axis, 2] = side - 1
    return result


def _crops(boxes_N4: NDArray[np.int64], image_size: tuple[int, int]) -> Matrices:
    # The outermost pixels of the part become those of the image: half a pixel further out
    # lies what is black where the part touches an edge.
    result = identities(len(boxes_N4), 3)
    for row, (first, last), side in ((1, (0, 1), image_size[0]), (0, (2, 3), image_size[1])):
        size_N = boxes_N4[:, last] - boxes_N4[:, first]
        result[:, row, row] = (size_N - 1) / max(side - 1, 1)
        result[:, row, 2] = boxes_N4[:, first]
    return result


def _shifts(
    rng: np.random.Generator, count: int, padding: float, image_size: tuple[int, int]
) -> Matrices:
    result = identities(count, 3)
    for row, size in ((1, image_size[0]), (0, image_size[1])):
        most = round(padding * size)
        result[:, row, 2] = rng.integers(-most, most, count, endpoint=True)
    return result
