"""Pixels of one size without TensorFlow, for trainings outside of the pipeline.

The transform graph (`components.transform.graph`) is what decides in the pipeline and in
serving.  This does the same, of PNGs to the rounding of halves; Pillow decodes JPEGs by the exact
transform and TensorFlow by the fast one, which differ by a few of 255 levels.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Resize = Literal["stretch", "crop", "pad"]


def decode(encoded: bytes, image_size: tuple[int, int], resize: Resize) -> Pixels:
    """Decodes an image that `common.images.pixels` found, or made, plain; uint8 H×W×3."""
    height, width = image_size
    with Image.open(io.BytesIO(encoded)) as image:
        shape: tuple[float, float] = image.height, image.width
        # A JPEG at 1/2, 1/4 or 1/8 of its size, with both sides at least twice those asked
        # for.  They are rounded up then, and the exact ones are fractions.
        if drafted := image.draft(None, (2 * width, 2 * height)):
            shape = drafted[1][3], drafted[1][2]
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape[:2] == image_size:
        return pixels
    if resize == "stretch":
        return _resized(pixels, shape, image_size)
    ratios = height / shape[0], width / shape[1]
    if resize == "crop":
        ratio = max(ratios)
        tall, wide = max(round(shape[0] * ratio), height), max(round(shape[1] * ratio), width)
        top, left = (tall - height) // 2, (wide - width) // 2
        filled = _resized(pixels, shape, (tall, wide))
        return np.ascontiguousarray(filled[top : top + height, left : left + width])
    ratio = min(ratios)
    tall = min(max(round(shape[0] * ratio), 1), height)
    wide = min(max(round(shape[1] * ratio), 1), width)
    top, left = (height - tall) // 2, (width - wide) // 2
    framed = np.zeros((height, width, 3), np.uint8)
    framed[top : top + tall, left : left + wide] = _resized(pixels, shape, (tall, wide))
    return framed


def _resized(pixels_HW3: Pixels, shape: tuple[float, float], size: tuple[int, int]) -> Pixels:
    """Resizes with antialiasing, as floats: Pillow rounds bytes twice."""
    box = (0, 0, shape[1], shape[0])
    channels = [
        Image.fromarray(pixels_HW3[..., channel].astype(np.float32)).resize(
            size[::-1], Image.Resampling.BILINEAR, box
        )
        for channel in range(3)
    ]
    floats = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    resized: Pixels = np.clip(np.rint(floats), 0, 255).astype(np.uint8)
    return resized
