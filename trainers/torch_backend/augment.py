"""Applies a drawn `Augmentation` to a batch of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.contract import Augmentation


def apply(images_N3HW: Tensor, augmentation: Augmentation) -> Tensor:
    """Makes the changes of a draw, in the order of its fields.

    Args:
      images_N3HW: float32, 0 to 1.

    Returns:
      float32 N3HW, 0 to 1.
    """
    device, (height, width) = images_N3HW.device, images_N3HW.shape[2:]
    if augmentation.affine_N23 is not None:
        grid = sampling_grid(augmentation.affine_N23, height, width)
        images_N3HW = F.grid_sample(
            images_N3HW,
            grid.to(device),
            mode="bilinear",
            padding_mode="reflection" if augmentation.reflect else "zeros",
            align_corners=False,
        )
    if augmentation.colour_N34 is not None:
        colour_N34 = torch.from_numpy(augmentation.colour_N34).to(device)
        mixed = torch.einsum("nij,njhw->nihw", colour_N34[:, :, :3], images_N3HW)
        images_N3HW = (mixed + colour_N34[:, :, 3, None, None]).clamp(0, 1)
    if augmentation.sharpness_N is not None:
        factor_N = torch.from_numpy(augmentation.sharpness_N).to(device)
        images_N3HW = _sharpened(images_N3HW, factor_N[:, None, None, None])
    if augmentation.erase is not None:
        boxes_NB4 = torch.from_numpy(augmentation.erase.boxes_NB4).to(device)
        erased_NHW = _inside(boxes_NB4, height, width).any(dim=1)
        paint_3HW = torch.from_numpy(augmentation.erase.paint_HW3).to(device).permute(2, 0, 1)
        images_N3HW = torch.where(erased_NHW[:, None], paint_3HW, images_N3HW)
    if augmentation.mix is not None:
        partner_N = torch.from_numpy(augmentation.mix.partner_N).to(device)
        top, bottom, left, right = augmentation.mix.box_4.tolist()
        part_N3HW = images_N3HW[:, :, top:bottom, left:right]
        others_N3HW = part_N3HW[partner_N]
        images_N3HW = images_N3HW.clone()
        images_N3HW[:, :, top:bottom, left:right] = torch.lerp(
            others_N3HW, part_N3HW, augmentation.mix.share
        )
    return images_N3HW


def _sharpened(images_N3HW: Tensor, factor_N111: Tensor) -> Tensor:
    inner_N3HW = images_N3HW[:, :, 1:-1, 1:-1]
    blurred_N3HW = (9 * F.avg_pool2d(images_N3HW, 3, stride=1) + 4 * inner_N3HW) / 13
    change_N3HW = (factor_N111 - 1) * (inner_N3HW - blurred_N3HW)
    return (images_N3HW + F.pad(change_N3HW, (1, 1, 1, 1))).clamp(0, 1)


def _inside(boxes_NB4: Tensor, height: int, width: int) -> Tensor:
    top, bottom, left, right = boxes_NB4[..., None].unbind(2)
    rows, columns = (torch.arange(side, device=boxes_NB4.device) for side in (height, width))
    rows_NBH = (rows >= top) & (rows < bottom)
    columns_NBW = (columns >= left) & (columns < right)
    return rows_NBH[..., None] & columns_NBW[..., None, :]


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
