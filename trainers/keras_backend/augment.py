"""Applies a drawn `Augmentation` to a batch of images, in a TensorFlow graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainers.contract import Augmentation

Key = tuple[tuple[str, ...], bool, int]
"""The parts of a draw that are there, whether the warp reflects, and rectangles per image:
what a graph is made for."""


def parts(augmentation: Augmentation | None) -> tuple[Key, list[Any]]:
    """Returns the key of a draw, and its arrays as the key's graph takes them."""
    a = augmentation or Augmentation()
    arrays: dict[str, Any] = {
        "affine": a.affine_N23,
        "colour": a.colour_N34,
        "sharpness": a.sharpness_N,
    }
    boxes = 0
    if a.erase is not None:
        boxes = a.erase.boxes_NB4.shape[1]
        arrays |= {"boxes": a.erase.boxes_NB4, "paint": a.erase.paint_HW3}
    if a.mix is not None:
        arrays |= {"partner": a.mix.partner_N, "box": a.mix.box_4, "share": a.mix.share}
    there = {name: array for name, array in arrays.items() if array is not None}
    return (tuple(there), a.reflect, boxes), [
        tf.constant(array, _KINDS[name]) for name, array in there.items()
    ]


_KINDS = {
    **dict.fromkeys(("affine", "colour", "sharpness", "paint", "share"), tf.float32),
    **dict.fromkeys(("boxes", "partner", "box"), tf.int32),
}


def signature(key: Key, image_size: tuple[int, int]) -> list[Any]:
    """Returns the specs of the arrays that `parts` returned."""
    names, _, boxes = key
    shapes: dict[str, tuple[int | None, ...]] = {
        **{"affine": (None, 2, 3), "colour": (None, 3, 4), "sharpness": (None,)},
        **{"boxes": (None, boxes, 4), "paint": (*image_size, 3)},
        **{"partner": (None,), "box": (4,), "share": ()},
    }
    return [tf.TensorSpec(shapes[name], _KINDS[name]) for name in names]


def apply(images_NHW3: Any, key: Key, arrays: Sequence[Any]) -> Any:
    """Makes the changes of a draw, in the order of its fields; float32 N×H×W×3, 0 to 255."""
    names, reflect, _ = key
    part, size = dict(zip(names, arrays, strict=True)), images_NHW3.shape[1:3]
    images = tf.cast(images_NHW3, tf.float32)
    if "affine" in part:
        images = _warped(images, part["affine"], reflect)
    if "colour" in part:
        colours = tf.einsum("nhwc,ndc->nhwd", images, part["colour"][:, :, :3])
        offset = 255.0 * part["colour"][:, None, None, :, 3]
        images = tf.clip_by_value(colours + offset, 0.0, 255.0)
    if "sharpness" in part:
        images = _sharpened(images, part["sharpness"][:, None, None, None])
    if "boxes" in part:
        erased_NHW = tf.reduce_any(_inside(part["boxes"], size), axis=1)
        images = tf.where(erased_NHW[..., None], 255.0 * part["paint"], images)
    if "partner" in part:
        inside_HW1 = _inside(part["box"], size)[..., None]
        other = tf.where(inside_HW1, 1 - part["share"], 0.0)
        images = (1 - other) * images + other * tf.gather(images, part["partner"])
    return images


def _warped(images: Any, affine_N23: Any, reflect: bool) -> Any:
    # The kernel takes the first eight numbers of a 3×3 matrix row by row.
    rows_N6 = tf.reshape(affine_N23, (-1, 6))
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.pad(rows_N6, [[0, 0], [0, 2]]),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT" if reflect else "CONSTANT",
    )


def _sharpened(images: Any, factor_N111: Any) -> Any:
    inner = images[:, 1:-1, 1:-1]
    blurred = (9 * tf.nn.avg_pool2d(images, 3, 1, "VALID") + 4 * inner) / 13
    change = (factor_N111 - 1) * (inner - blurred)
    return tf.clip_by_value(images + tf.pad(change, [[0, 0], [1, 1], [1, 1], [0, 0]]), 0.0, 255.0)


def _inside(boxes: Any, image_size: Any) -> Any:
    """Says of each pixel whether it lies in a box; [..., 4] to [..., H, W]."""
    top, bottom, left, right = (boxes[..., i, None] for i in range(4))
    rows, columns = (tf.range(side) for side in image_size)
    inside_H = (rows >= top) & (rows < bottom)
    inside_W = (columns >= left) & (columns < right)
    return inside_H[..., None] & inside_W[..., None, :]
