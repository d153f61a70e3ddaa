"""Pixels without TensorFlow against those of the transform graph."""

from __future__ import annotations

import numpy as np
import pytest
from odd_images import encode

import tensorflow as tf  # isort: skip

from common.images.resized import decode
from components.transform import graph

pytestmark = pytest.mark.pipelines

FAST = 6
"""The most that TensorFlow's transform of JPEGs differs from the exact one."""


def picture(height: int, width: int) -> np.ndarray:
    """Edges, slopes and noise."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[0:height, 0:width]
    slope = np.stack([255 * x / width, 255 * y / height, 127 + 127 * np.sin(x * y / 99)], -1)
    noise = rng.normal(0, 12, (height, width, 3))
    return np.clip(slope + noise + 60 * ((x // 9) % 2)[..., None], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ((40, 60), (32, 32)),
        ((17, 33), (48, 24)),
        ((32, 32), (32, 32)),
        ((301, 203), (64, 96)),
        ((517, 389), (30, 41)),  # a JPEG is decoded at a fraction of its size
        ((1027, 2051), (24, 16)),
    ],
)
def test_they_are_those_of_the_graph(sides, size, resize):
    for form, most in (("PNG", 1), ("JPEG", FAST)):
        data = encode(form, picture(*sides))
        expected = graph.decode(tf.constant(data), *size, resize).numpy().astype(int)
        made = decode(data, size, resize)
        assert made.dtype == np.uint8
        difference = np.abs(made - expected)
        assert difference.max() <= most
        if form == "PNG":  # rounding of what lies in the middle
            assert (difference > 0).mean() < 1e-2


@pytest.mark.parametrize("kind", ["L", "P", "1"])
def test_grey_and_palettes_become_colours(kind):
    from PIL import Image

    data = encode("PNG", Image.fromarray(picture(40, 50)).convert(kind))
    expected = graph.decode(tf.constant(data), 24, 24, "stretch").numpy().astype(int)
    assert np.abs(decode(data, (24, 24), "stretch") - expected).max() <= 1
