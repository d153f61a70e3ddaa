"""What an `Augmentation` means, in NumPy, one formula at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.contract import Augmentation, Images

Pixels = NDArray[np.float64]


def apply(images_NHW3: Images, augmentation: Augmentation) -> Pixels:
    """Returns the changed images, float64 N×H×W×3, 0 to 255."""
    images = images_NHW3.astype(float) / 255
    if augmentation.affine_N23 is not None:
        pairs = zip(images, augmentation.affine_N23, strict=True)
        images = np.stack([_warped(*pair, augmentation.reflect) for pair in pairs])
    if augmentation.colour_N34 is not None:
        matrices, offsets = np.split(augmentation.colour_N34.astype(float), [3], axis=2)
        colours = np.einsum("nij,nhwj->nhwi", matrices, images)
        images = np.clip(colours + offsets[:, None, None, :, 0], 0, 1)
    if augmentation.sharpness_N is not None:
        factor_N111 = augmentation.sharpness_N[:, None, None, None].astype(float)
        images = np.clip(factor_N111 * images + (1 - factor_N111) * _blurred(images), 0, 1)
    if augmentation.erase is not None:
        images = images.copy()
        for image, boxes in zip(images, augmentation.erase.boxes_NB4, strict=True):
            for top, bottom, left, right in boxes:
                part = slice(top, bottom), slice(left, right)
                image[part] = augmentation.erase.paint_HW3[part]
    if augmentation.mix is not None:
        mix, others = augmentation.mix, images[augmentation.mix.partner_N]
        top, bottom, left, right = mix.box_4
        box = slice(None), slice(top, bottom), slice(left, right)
        images = images.copy()
        images[box] = mix.share * images[box] + (1 - mix.share) * others[box]
    return 255 * images


def _warped(image_HW3: Pixels, affine_23: NDArray[np.float32], reflect: bool) -> Pixels:
    height, width, _ = image_HW3.shape
    rows, columns = np.indices((height, width))
    x, y = np.einsum("ij,jhw->ihw", affine_23.astype(float), [columns, rows, rows * 0 + 1])
    if reflect:
        x, y = _reflected(x, width), _reflected(y, height)
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


def _reflected(x: Pixels, side: int) -> Pixels:
    """Mirrors at the outer edges of the first and the last pixel."""
    x = (x + 0.5) % (2 * side)
    return np.clip(np.minimum(x, 2 * side - x) - 0.5, 0, side - 1)


def _blurred(images: Pixels) -> Pixels:
    _, height, width, _ = images.shape
    around = sum(
        images[:, dy : height - 2 + dy, dx : width - 2 + dx] for dy in range(3) for dx in range(3)
    )
    result = images.copy()
    result[:, 1:-1, 1:-1] = (around + 4 * images[:, 1:-1, 1:-1]) / 13
    return result
