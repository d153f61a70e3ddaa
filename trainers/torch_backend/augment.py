"""Applies a drawn `Augmentation` to a batch of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.contract import Augmentation


def apply(images_N3HW: Tensor, augmentation: Augmentation) -> Tensor:
    """Warps, then changes colours.

    Args:
      images_N3HW: float32, 0 to 1.

    Returns:
      float32 N3HW, 0 to 1.
    """
    if augmentation.affine_N23 is not None:
        grid = sampling_grid(augmentation.affine_N23, *images_N3HW.shape[2:])
        images_N3HW = F.grid_sample(
            images_N3HW,
            grid.to(images_N3HW.device),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
    if augmentation.colour_N34 is not None:
        colour_N34 = torch.from_numpy(augmentation.colour_N34).to(images_N3HW.device)
        mixed = torch.einsum("nij,njhw->nihw", colour_N34[:, :, :3], images_N3HW)
        images_N3HW = (mixed + colour_N34[:, :, 3, None, None]).clamp(0, 1)
    return images_N3HW


def sampling_grid(affine_N23: np.ndarray, height: int, width: int) -> Tensor:
    """The affine map in the coordinates of `grid_sample`, float32 N×H×W×2.

    There (`align_corners=False`) pixel x of `width` has its centre at
    (2x + 1) / width - 1, which holds for a width of one, too.
    """
    affine = affine_N23.astype(np.float64)
    x, y = np.arange(width), np.arange(height)[:, None]
    source_N2HW = (
        affine[:, :, 0, None, None] * x
        + affine[:, :, 1, None, None] * y
        + affine[:, :, 2, None, None]
    )
    size = np.array([width, height]).reshape(1, 2, 1, 1)
    grid_N2HW = (2 * source_N2HW + 1) / size - 1
    return torch.from_numpy(grid_N2HW.astype(np.float32)).permute(0, 2, 3, 1)
