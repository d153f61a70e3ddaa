"""What applying an `Augmentation` means, in NumPy, one formula at a time."""

from __future__ import annotations

import numpy as np

from trainers.contract import Augmentation


def apply(images_NHW3: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """The changed images, float64 N×H×W×3, 0 to 255, from the same of any type."""
    images = images_NHW3.astype(float)
    if augmentation.affine_N23 is not None:
        pairs = zip(images, augmentation.affine_N23, strict=True)
        images = np.stack([_warped(*pair) for pair in pairs])
    if augmentation.colour_N34 is not None:
        matrices, offsets = np.split(augmentation.colour_N34.astype(float), [3], axis=2)
        colours = np.einsum("nij,nhwj->nhwi", matrices, images / 255)
        images = 255 * np.clip(colours + offsets[:, None, None, :, 0], 0, 1)
    return images


def _warped(image_HW3: np.ndarray, affine_23: np.ndarray) -> np.ndarray:
    height, width, _ = image_HW3.shape
    rows, columns = np.indices((height, width))
    x, y = np.einsum("ij,jhw->ihw", affine_23.astype(float), [columns, rows, rows * 0 + 1])
    left, top = np.floor(x), np.floor(y)
    result = np.zeros_like(image_HW3)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = left + dx, top + dy
        share = (1 - abs(x - column)) * (1 - abs(y - row))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        source = image_HW3[
            np.clip(row, 0, height - 1).astype(int), np.clip(column, 0, width - 1).astype(int)
        ]
        result += (share * inside)[:, :, None] * source
    return result
