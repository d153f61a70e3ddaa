"""Rectangles to erase, and pairs of images to mix; what mixing does to targets.

Zhong et al., "Random Erasing" (2020); DeVries & Taylor, "Cutout" (2017); Zhang et al.,
"mixup" (2018); Yun et al., "CutMix" (2019).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainers.augment.geometry import rectangles
from trainers.config import AugmentConfig
from trainers.contract import Batch, Erase, Floats, Mix


def erase(
    config: AugmentConfig, rng: np.random.Generator, count: int, image_size: tuple[int, int]
) -> Erase | None:
    boxes: list[NDArray[np.int64]] = []
    if config.random_erasing:
        boxes_N4 = rectangles(rng, count, image_size, config.erasing_scale, config.erasing_ratio)
        boxes.append(boxes_N4 * (rng.random((count, 1)) < config.random_erasing))
    if config.cutout:
        side = max(1, round(config.cutout * min(image_size)))
        boxes.append(_boxes(rng, count, image_size, (side, side)))
    if not boxes:
        return None
    if config.erasing_fill == "noise":
        paint_HW3 = rng.random((*image_size, 3), np.float32)
    else:
        paint_HW3 = np.full((*image_size, 3), 0.5, np.float32)
    return Erase(np.stack(boxes, axis=1).astype(np.int32), paint_HW3)


def mix(
    config: AugmentConfig, rng: np.random.Generator, count: int, image_size: tuple[int, int]
) -> Mix | None:
    """Draws one blend for the batch; of both kinds each half of the time, as timm does."""
    if not config.mixup and not config.cutmix:
        return None
    cuts = not config.mixup or (config.cutmix > 0 and rng.random() < 0.5)
    alpha = config.cutmix if cuts else config.mixup
    share = float(rng.beta(alpha, alpha))
    partner_N = rng.permutation(count).astype(np.int32)
    if not cuts:
        whole_4 = np.array([0, image_size[0], 0, image_size[1]], np.int32)
        return Mix(partner_N, whole_4, share)
    height, width = (round(side * np.sqrt(1 - share)) for side in image_size)
    (box_4,) = _boxes(rng, 1, image_size, (height, width))
    return Mix(partner_N, box_4.astype(np.int32), 0.0)


def mixed(batch: Batch) -> Batch:
    """Returns the batch with what is wanted of images that will be mixed: targets and the like."""
    if batch.augmentation is None or batch.augmentation.mix is None:
        return batch
    height, width = batch.images_NHW3.shape[1:3]
    partner_N = batch.augmentation.mix.partner_N
    own = np.float32(batch.augmentation.mix.own((height, width)))

    def mix_(values: Floats) -> Floats:
        return own * values + (1 - own) * values[partner_N]

    return replace(
        batch,
        labels_N=batch.labels_N if own >= 0.5 else batch.labels_N[partner_N],
        targets_NC=mix_(batch.targets_NC),
        weights_N=mix_(batch.weights_N),
        teacher_NC=None if batch.teacher_NC is None else mix_(batch.teacher_NC),
    )


def _boxes(
    rng: np.random.Generator, count: int, image_size: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.int64]:
    """Draws boxes whose centre is any pixel, so that the image's edges may cut them."""
    sides = []
    for side, length in zip(image_size, size, strict=True):
        first_N = rng.integers(side, size=count) - length // 2
        sides += [np.clip(first_N, 0, side), np.clip(first_N + length, 0, side)]
    return np.stack(sides, axis=1)
