"""Keras models: float images 0 to 255, RGB, N×H×W×3, to logits N×C.

The normalisation of each model is its first layer, and a standard one, so
that `model.keras` is complete and loads with Keras alone.  `small_cnn` and
`resnet20` have the same layers and as many weights in every backend.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers

from common.errors import ConfigError, nearest
from trainers.keras_backend import custom
from trainers.keras_backend.names import SMALL_MODELS, application_names, model_names

Normalise = Callable[[Any], Any]

OURS = {"weights", "include_top", "classes", "classifier_activation", "input_shape"}
"""Arguments of keras.applications that this module sets."""
UNUSED = {"input_tensor", "pooling", "name"}
"""Arguments of keras.applications that make no sense here."""


def build(
    name: str, model_args: dict[str, Any], *, num_classes: int, image_size: tuple[int, int]
) -> Any:
    """Builds a model with fresh weights.

    Args:
      name: a name of `names.model_names()`, or "package.module:function".
      image_size: height and width in pixels.

    Returns:
      A `keras.Model` whose last layer is the network without normalisation,
      or the network itself where that normalises on its own.

    Raises:
      ConfigError: unknown name, arguments or image size the model refuses.
    """
    if ":" in name:
        network = custom.call(name, model_args, num_classes=num_classes, image_size=image_size)
        normalise: Normalise | None = to_unit_range
    elif name in SMALL_MODELS:
        network = _small(name, model_args, num_classes=num_classes, image_size=image_size)
        normalise = to_unit_range
    elif name in application_names():
        network, normalise = _application(name, model_args, num_classes, image_size)
    else:
        raise ConfigError(
            f"model: Keras has no model {name!r}.{nearest(name, model_names())}"
            " A model of your own is named package.module:function."
        )
    if normalise is None:
        return network
    images = keras.Input((*image_size, 3), name="images")
    return keras.Model(images, network(normalise(images)), name=f"normalised_{network.name}")


def network_of(model: Any) -> Any:
    """The part of a built model that follows its normalisation."""
    last = model.layers[-1]
    return last if isinstance(last, keras.Model) else model


def to_unit_range(images: Any) -> Any:
    """0..255 to -1..1."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(images)


def _small(
    name: str, model_args: dict[str, Any], *, num_classes: int, image_size: tuple[int, int]
) -> Any:
    if model_args:
        raise ConfigError(f"model_args: {name} takes none, got {', '.join(sorted(model_args))}.")
    if name == "resnet20":
        return resnet20(num_classes, image_size)
    if min(image_size) < 8:
        raise ConfigError(
            f"model: small_cnn takes images of at least 8×8 pixels,"
            f" got {image_size[0]}×{image_size[1]}. Use larger images."
        )
    return small_cnn(num_classes, image_size)


def small_cnn(num_classes: int, image_size: tuple[int, int]) -> Any:
    """Three blocks of convolution, batch norm, ReLU and pooling."""
    images = keras.Input((*image_size, 3))
    x = images
    for filters in (32, 64, 128):
        x = layers.ReLU()(_batch_norm(_conv(filters, 3, padding="same")(x)))
        x = layers.MaxPooling2D(2)(x)
    return keras.Model(images, _head(x, num_classes), name="small_cnn")


def resnet20(num_classes: int, image_size: tuple[int, int]) -> Any:
    """ResNet-20 for CIFAR (He et al. 2015, section 4.2), projecting shortcuts."""
    images = keras.Input((*image_size, 3))
    x = layers.ReLU()(_batch_norm(_conv(16, 3, padding="same")(images)))
    for filters in (16, 32, 64):
        for block in range(3):
            x = _basic_block(x, filters, stride=2 if filters > 16 and block == 0 else 1)
    return keras.Model(images, _head(x, num_classes), name="resnet20")


def _basic_block(x: Any, filters: int, stride: int) -> Any:
    shortcut = x
    if stride > 1:
        shortcut = _batch_norm(_conv(filters, 1, strides=stride)(x))
    # "same" would pad an even image at the right and bottom only, where
    # PyTorch's padding=1 pads all sides.
    x = layers.ZeroPadding2D(1)(x)
    x = layers.ReLU()(_batch_norm(_conv(filters, 3, strides=stride)(x)))
    x = _batch_norm(_conv(filters, 3, padding="same")(x))
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _conv(filters: int, size: int, **arguments: Any) -> Any:
    return layers.Conv2D(filters, size, use_bias=False, kernel_initializer="he_normal", **arguments)


def _batch_norm(x: Any) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _head(x: Any, num_classes: int) -> Any:
    return layers.Dense(num_classes, name="logits")(layers.GlobalAveragePooling2D()(x))


def _application(
    name: str, model_args: dict[str, Any], num_classes: int, image_size: tuple[int, int]
) -> tuple[Any, Normalise | None]:
    function = getattr(keras.applications, name)
    arguments = set(inspect.signature(function).parameters) - OURS - UNUSED
    for argument in model_args:
        if argument in OURS:
            raise ConfigError(
                f"model_args.{argument}: visionline sets it for {name}; leave it out"
                " (start from local weights with `pretrained`)."
            )
        if argument not in arguments:
            raise ConfigError(
                f"model_args: {name} has no argument {argument!r}.{nearest(argument, arguments)}"
            )
    try:
        network = function(
            weights=None,
            include_top=True,
            classes=num_classes,
            classifier_activation=None,
            input_shape=(*image_size, 3),
            **model_args,
        )
    except (ValueError, TypeError) as e:
        raise ConfigError(_refusal(name, e, model_args, image_size)) from e
    if model_args.get("include_preprocessing") is False:
        return network, to_unit_range
    return network, _preprocessing(sys.modules[function.__module__])


def _refusal(
    name: str, error: Exception, model_args: dict[str, Any], image_size: tuple[int, int]
) -> str:
    received = f"{image_size[0]}×{image_size[1]}"
    smallest = re.search(r"at least (\d+) ?x ?(\d+)", str(error))
    if smallest:
        height, width = smallest.groups()
        return (
            f"model: {name} takes images of at least {height}×{width} pixels, got {received}."
            " Use larger images."
        )
    settings = f" and model_args {model_args}" if model_args else ""
    return f"model: {name} cannot be built for images of {received}{settings}: {error}"


def _preprocessing(family: ModuleType) -> Normalise | None:
    """The `preprocess_input` of a family of models as a layer.

    Each is an affine map of (r, g, b), so its values at black and at the three
    primaries give it whole, for families yet to come too.
    """
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    black, *primaries = family.preprocess_input(points.reshape(4, 1, 1, 3)).reshape(4, 3)
    matrix_33 = np.stack(primaries) - black  # Row i: what channel i adds.
    if np.array_equal(matrix_33, np.eye(3)) and not black.any():
        return None  # The models of this family normalise by themselves.
    scale = np.diag(matrix_33)
    if np.count_nonzero(matrix_33 - np.diag(scale)) == 0:
        return layers.Rescaling(scale.tolist(), offset=black.tolist(), name="normalise")  # type: ignore[no-any-return]
    return _mixing(matrix_33, black)


def _mixing(matrix_33: Any, offset_3: Any) -> Normalise:
    """A layer for channels that change places, as BGR of RGB: a frozen 1×1 convolution."""

    def normalise(images: Any) -> Any:
        layer = layers.Conv2D(3, 1, trainable=False, name="normalise")
        outputs = layer(images)
        layer.set_weights([matrix_33[None, None], offset_3])
        return outputs

    return normalise
