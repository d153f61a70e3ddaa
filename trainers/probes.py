"""Drawn images: what a model is compared on where no user's pixels may go.

A pushed version carries a few images with the scores of the trained model for them, so
that whoever loads it can see that it answers as it was trained to.  They travel to
every cluster; so they are drawn, unless someone asks for real ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from trainers.contract import Images

_SEED = 20260131
Plane = npt.NDArray[np.float64]
Drawing = Callable[[np.random.Generator, Plane, Plane], Plane]
"""From coordinates (0 to 1, H×W each) to one channel, H×W, 0 to 1."""


def drawn(count: int, image_size: tuple[int, int]) -> Images:
    """Gradients, stripes, shapes, blots and noise in drawn colours, uint8 N×H×W×3.

    The same images every time; edges and textures of every kind, so that all of a
    network has something to do.
    """
    height, width = image_size
    rng = np.random.default_rng(_SEED)
    y_HW, x_HW = np.meshgrid(
        (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij"
    )
    images = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        plane_HW = _DRAWINGS[number % len(_DRAWINGS)](rng, y_HW, x_HW)[..., None]
        dark_3, bright_3 = rng.uniform(0, 0.5, 3), rng.uniform(0.5, 1, 3)
        if rng.random() < 0.25:  # as many data sets are: white on black
            dark_3, bright_3 = np.zeros(3), np.ones(3)
        shade_HW3 = dark_3 + (bright_3 - dark_3) * np.clip(plane_HW, 0, 1)
        images[number] = np.rint(shade_HW3 * 255).astype(np.uint8)
    return images


def _gradient(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    angle = rng.uniform(0, 2 * np.pi)
    shade: Plane = 0.5 + (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))
    return shade


def _stripes(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 8)
    along = np.cos(angle) * x + np.sin(angle) * y
    shade: Plane = 0.5 + 0.5 * np.sin(2 * np.pi * waves * along)
    return shade


def _ring(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    centre_y, centre_x = rng.uniform(0.35, 0.65, 2)
    distance = np.hypot(y - centre_y, x - centre_x)
    shade: Plane = np.clip(1 - np.abs(distance - rng.uniform(0.15, 0.35)) / 0.08, 0, 1)
    return shade


def _boxes(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    plane = np.zeros_like(x)
    for _ in range(4):
        top, left = rng.uniform(0, 0.7, 2)
        tall, wide = rng.uniform(0.1, 0.5, 2)
        inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
        plane[inside] = rng.uniform(0.3, 1)
    return plane


def _strokes(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    plane = np.zeros_like(x)
    for _ in range(3):
        (from_y, from_x), (to_y, to_x) = rng.uniform(0.1, 0.9, (2, 2))
        step_y, step_x = to_y - from_y, to_x - from_x
        along = ((y - from_y) * step_y + (x - from_x) * step_x) / (step_y**2 + step_x**2 + 1e-9)
        along = np.clip(along, 0, 1)
        distance = np.hypot(y - from_y - along * step_y, x - from_x - along * step_x)
        plane = np.maximum(plane, np.clip(1.5 - distance / 0.06, 0, 1))
    return plane


def _checks(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    cells = int(rng.integers(2, 7))
    return (np.floor(y * cells) + np.floor(x * cells)) % 2


def _blots(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    plane = np.zeros_like(x)
    for _ in range(6):
        centre_y, centre_x = rng.uniform(0, 1, 2)
        size = rng.uniform(0.08, 0.25)
        plane += np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * size**2))
    return plane


def _noise(rng: np.random.Generator, y: Plane, x: Plane) -> Plane:
    return rng.uniform(0, 1, x.shape)


_DRAWINGS: tuple[Drawing, ...] = (
    *(_gradient, _stripes, _ring, _boxes, _strokes, _checks, _blots, _noise),
)
