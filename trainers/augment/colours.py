"""Changes of colour as 4×4 matrices on (r, g, b, 1)."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from trainers.augment.geometry import Matrices, identities
from trainers.config import AugmentConfig

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of (r, g, b) in brightness, ITU-R BT.601, as JPEG and Pillow have it."""
_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""NTSC's luma and two of colour, in whose plane a hue is an angle."""


def target(name: str, grey: float = 0.5) -> NDArray[np.float64]:
    """Returns what a change moves colours away from, 3×4: their luma, or one grey."""
    target_34 = np.zeros((3, 4))
    if name == "saturation":
        target_34[:, :3] = LUMA
    elif name == "contrast":
        target_34[:, 3] = grey
    return target_34


def maps(config: AugmentConfig, rng: np.random.Generator, count: int) -> list[Matrices]:
    """Draws the changes, in the order in which they are made."""
    drawn = [
        towards(target(name), rng.uniform(1 - most, 1 + most, count))
        for name in ("brightness", "contrast", "saturation")
        if (most := getattr(config, name))
    ]
    if config.hue:
        drawn.append(_hues(2 * np.pi * rng.uniform(-config.hue, config.hue, count)))
    if config.grayscale:
        keep_N = (rng.random(count) >= config.grayscale).astype(float)
        drawn.append(towards(target("saturation"), keep_N))
    return drawn


def compose(changes: list[Matrices]) -> Matrices:
    """Returns the product: the first change made is the first factor from the right."""
    return functools.reduce(np.matmul, changes[::-1])


def towards(target_34: NDArray[np.float64], factor_N: NDArray[np.float64]) -> Matrices:
    """Moves colours from `target_34` (factor 0) through themselves (1) and beyond."""
    result = identities(len(factor_N), 4)
    factor_N11 = factor_N[:, None, None]
    result[:, :3] = factor_N11 * result[:, :3] + (1 - factor_N11) * target_34
    return result


def _hues(radians_N: NDArray[np.float64]) -> Matrices:
    turn_N33 = identities(len(radians_N), 3)
    cos_N, sin_N = np.cos(radians_N), np.sin(radians_N)
    turn_N33[:, 1:, 1:] = np.stack([cos_N, -sin_N, sin_N, cos_N], axis=1).reshape(-1, 2, 2)
    result = identities(len(radians_N), 4)
    result[:, :3, :3] = np.linalg.inv(_YIQ) @ turn_N33 @ _YIQ
    return result
