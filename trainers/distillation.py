"""Distillation: what a pushed model answers to the training images, for a new one to learn.

The teacher sees each image once, as it lies in the arrays, before the first step; the student
sees it augmented.  See docs/decisions/0029-distillation.md.

Shape suffixes: N images, H height, W width, C classes, 3 colour channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import ConfigError
from common.process.cpus import available_cpus
from common.process.progress import emit
from common.record.kinds import TRAINER
from modelstore.engines import Onnx
from trainers.config import DistillationConfig
from trainers.contract import Floats, Images
from trainers.teacher import find_teacher

_PIXELS_AT_ONCE = 2**21
_LEAST = 1e-30
"""No probability counts as less, as its logarithm is taken."""


def answers(
    config: DistillationConfig, images_NHW3: Images, class_names: Sequence[str]
) -> NDArray[np.float16] | None:
    """Returns what the teacher says of each image, float16 N×C, at the config's temperature.

    Args:
      images_NHW3: may be mapped from the disk; read in parts, in their order.
      class_names: in the order of the result.

    Returns:
      Shares in the order of `class_names`; None where there is no teacher.

    Raises:
      ConfigError: the teacher takes images of another shape.
      DataError: it cannot be loaded.
    """
    teacher = find_teacher(config)
    if teacher is None:
        return None
    size = teacher.card.image_size
    height, width = images_NHW3.shape[1:3]
    if size[0] * width != size[1] * height:
        raise ConfigError(
            "train.distillation.model: expected a teacher of images that are as wide for their "
            f"height as the student's, {height}×{width}, got one of {size[0]}×{size[1]}. Set "
            "transform.image_size alike."
        )
    engine = Onnx(teacher.folder, available_cpus())
    order = [teacher.card.class_names.index(name) for name in class_names]
    count, at_once = len(images_NHW3), max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
    answers_NC = np.empty((count, len(order)), np.float16)
    for start in range(0, count, at_once):
        text = f"teacher: {start:,} of {count:,} images"
        emit({"kind": "detail", "node": TRAINER, "text": text})
        scores_NC = engine.scores(_resized(images_NHW3[start : start + at_once], size))
        answers_NC[start : start + at_once] = softened(scores_NC[:, order], config.temperature)
    return answers_NC


def softened(scores_NC: Floats, temperature: float) -> Floats:
    """Returns softmax(logits / temperature) of probabilities, whose logarithms serve as logits."""
    logits_NC = np.log(np.maximum(scores_NC.astype(np.float64), _LEAST)) / temperature
    shares_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    softened_NC: Floats = (shares_NC / shares_NC.sum(axis=1, keepdims=True)).astype(np.float32)
    return softened_NC


def _resized(images_NHW3: Images, size: tuple[int, int]) -> Images:
    """Resizes images as the transform graph does: bilinearly, antialiased."""
    if images_NHW3.shape[1:3] == size:
        return np.ascontiguousarray(images_NHW3)
    wide = (size[1], size[0])
    resized = [Image.fromarray(i).resize(wide, Image.Resampling.BILINEAR) for i in images_NHW3]
    return np.stack([np.asarray(image) for image in resized])
