"""A Keras model of your own: `--framework keras --model keras_model:separable`.

A builder gets the number of classes, the image size (height, width), and
whatever [train.model_args] says.  Its model takes images scaled to -1..1,
N×H×W×3, and gives logits, N×C: no softmax at the end.
"""

from __future__ import annotations

import keras
from keras import layers


def separable(
    num_classes: int, image_size: tuple[int, int], width: int = 32, dropout: float = 0.2
) -> keras.Model:
    """Three separable convolutions, each of twice the width, at half the size."""
    images = keras.Input((*image_size, 3))
    x = images
    for filters in (width, 2 * width, 4 * width):
        x = layers.SeparableConv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.Dense(num_classes)(x))
