"""Models of the user's own: "package.module:function"."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras

from common.errors import ConfigError
from trainers.own_models import described, resolve


def call(
    name: str, model_args: dict[str, Any], *, num_classes: int, image_size: tuple[int, int]
) -> Any:
    """Calls the user's function and checks what it returns.

    Args:
      name: "package.module:function"; it is called as
        `function(num_classes=…, image_size=(height, width), **model_args)`.

    Returns:
      Its `keras.Model`, from images N×H×W×3 in -1..1 to logits N×C.

    Raises:
      ConfigError: it cannot be imported, fails, or returns something else.
    """
    function = resolve(name)
    try:
        model = function(num_classes=num_classes, image_size=image_size, **model_args)
    except Exception as e:
        raise ConfigError(f"model: {name} raised {described(e)}") from e
    if not isinstance(model, keras.Model):
        raise ConfigError(f"model: expected {name} to return a keras.Model, got {model!r}.")
    try:
        shape = tuple(model(keras.Input((*image_size, 3))).shape)
    except Exception as e:
        raise ConfigError(
            f"model: what {name} returned cannot take images of shape"
            f" (N, {image_size[0]}, {image_size[1]}, 3): {described(e)}"
        ) from e
    if shape != (None, num_classes):
        raise ConfigError(
            f"model: expected {name} to give logits of shape (N, {num_classes}), got {shape}."
            " End the model with a Dense(num_classes)."
        )
    _check_saving(name, model)
    return model


def _check_saving(name: str, model: Any) -> None:
    # Found here in a second, rather than after hours of training.
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            keras.saving.load_model(path, compile=False)
    except Exception as e:
        raise ConfigError(
            f"model: the model of {name} cannot be saved and loaded again: {described(e)}"
            " Use standard layers, or classes with"
            " @keras.saving.register_keras_serializable() and get_config; no Lambda."
        ) from e
