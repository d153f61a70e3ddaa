"""What the transform graph does: decodes and resizes images, and numbers their classes.

Every model carries the graph, so serving decodes exactly as training did.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from modelstore.raw_example import ENCODED
from modelstore.raw_example import LABEL as CLASS

IMAGE = "image"
LABEL = "label"


def preprocess(
    inputs: dict[str, Any], image_size: tuple[int, int], resize: str, vocabulary: str
) -> dict[str, Any]:
    """Raw examples to what a model sees.

    Args:
      inputs: batched raw features.
      image_size: height and width.
      resize: a key of `RESIZE`.
      vocabulary: a file of the class names, one a line.

    Returns:
      image: string [batch], raw bytes of a uint8 H×W×3 image (TFT carries no
        uint8, and a list of floats is 12 times larger).
      label: int64 [batch], the index in the vocabulary, -1 for an unseen class.
    """
    height, width = image_size

    def raw(encoded: tf.Tensor) -> tf.Tensor:
        # The content is the last field of the serialised TensorProto.
        size = height * width * 3
        image = decode(encoded, height, width, resize)
        return tf.strings.substr(tf.io.serialize_tensor(image), -size, size)

    return {
        IMAGE: tf.map_fn(raw, _flat(inputs[ENCODED]), fn_output_signature=tf.string),
        LABEL: tft.apply_vocabulary(_flat(inputs[CLASS]), vocabulary),
    }


def decode(encoded: tf.Tensor, height: int, width: int, resize: str) -> tf.Tensor:
    """Decodes an image file to the uint8 [height, width, 3] that a model sees.

    Args:
      resize: a key of `RESIZE`.
    """
    image, shape = _decoded(encoded, height, width)
    image = tf.cond(
        tf.reduce_all(tf.equal(tf.shape(image)[:2], [height, width])),
        lambda: image,
        lambda: _to_uint8(RESIZE[resize](image, shape, height, width)),
    )
    return tf.ensure_shape(image, [height, width, 3])


def _flat(feature: Any) -> tf.Tensor:
    """Returns a feature that has one value per example, as [batch]."""
    if isinstance(feature, tf.SparseTensor):
        feature = feature.values
    return tf.reshape(feature, [-1])


def _decoded(encoded: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes an image file to uint8 [h, w, 3], and its exact h and w, float32 [2].

    A JPEG that is much larger than the model's input is decoded at 1/2, 1/4 or 1/8 of its
    size, with both sides still at least twice those asked for: a fraction of the time and
    memory, and a difference that resizing leaves little of.  Its sides are then rounded up,
    and the exact ones are fractions.
    """

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.image.extract_jpeg_shape(encoded)[:2]
        room = tf.reduce_min(shape // [2 * height, 2 * width])
        step = tf.reduce_sum(tf.cast(room >= [2, 4, 8], tf.int32))
        image = tf.switch_case(step, [lambda r=r: at(r) for r in (1, 2, 4, 8)])
        return image, tf.cast(shape, tf.float32) / tf.cast(2**step, tf.float32)

    def at(ratio: int) -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, channels=3, ratio=ratio)

    def other() -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return image, tf.cast(tf.shape(image)[:2], tf.float32)

    image, shape = tf.cond(tf.io.is_jpeg(encoded), jpeg, other)
    image.set_shape([None, None, 3])
    shape.set_shape([2])
    return image, shape


def _to_uint8(image: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)


def _resized(image: tf.Tensor, shape: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """What `tf.image.resize(image, size, antialias=True)` does, for a shape of fractions.

    Of bytes: a copy as floats would be the largest thing in a server's memory.
    """
    (resized,) = tf.unstack(
        tf.raw_ops.ScaleAndTranslate(
            images=image[None],
            size=size,
            scale=tf.cast(size, tf.float32) / shape,
            translation=tf.zeros([2]),
            kernel_type="triangle",
            antialias=True,
        ),
        num=1,
    )
    return resized


def _stretch(image: tf.Tensor, shape: tf.Tensor, height: int, width: int) -> tf.Tensor:
    return _resized(image, shape, tf.constant([height, width]))


def _crop(image: tf.Tensor, shape: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Fills the frame, cutting what hangs over on either side."""
    scale = tf.reduce_max([height / shape[0], width / shape[1]])
    size = tf.maximum(tf.cast(tf.round(shape * scale), tf.int32), [height, width])
    return tf.image.resize_with_crop_or_pad(_resized(image, shape, size), height, width)


def _pad(image: tf.Tensor, shape: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Keeps the whole image, with black bars."""
    scale = tf.reduce_min([height / shape[0], width / shape[1]])
    # Rounded: TensorFlow's own cuts 31.99999 down to 31, in some graphs.
    size = tf.clip_by_value(tf.cast(tf.round(shape * scale), tf.int32), 1, [height, width])
    return tf.image.resize_with_crop_or_pad(_resized(image, shape, size), height, width)


RESIZE = {"stretch": _stretch, "crop": _crop, "pad": _pad}
