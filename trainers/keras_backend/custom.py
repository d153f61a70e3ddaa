"""Models of the user's own: "package.module:function"."""

from __future__ import annotations

import importlib
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from trainers.errors import ConfigError, nearest


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
        raise ConfigError(f"model: {name} raised {_described(e)}") from e
    if not isinstance(model, keras.Model):
        raise ConfigError(f"model: expected {name} to return a keras.Model, got {model!r}.")
    try:
        shape = tuple(model(keras.Input((*image_size, 3))).shape)
    except Exception as e:
        raise ConfigError(
            f"model: what {name} returned cannot take images of shape"
            f" (N, {image_size[0]}, {image_size[1]}, 3): {_described(e)}"
        ) from e
    if shape != (None, num_classes):
        raise ConfigError(
            f"model: expected {name} to give logits of shape (N, {num_classes}), got {shape}."
            " End the model with a Dense(num_classes)."
        )
    _check_saving(name, model)
    return model


def resolve(name: str) -> Callable[..., Any]:
    """Imports "package.module:function"."""
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise ConfigError(f"model: importing {module_name} raised {_described(e)}") from e
        raise ConfigError(
            f"model: no module {e.name!r} (of {name!r}). Run from the folder that has it,"
            " or set PYTHONPATH."
        ) from None
    except Exception as e:
        raise ConfigError(f"model: importing {module_name} raised {_described(e)}") from e
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value)]
        raise ConfigError(
            f"model: {module_name} has no function {function_name!r}."
            f"{nearest(function_name, names)}"
        )
    return function  # type: ignore[no-any-return]


def _check_saving(name: str, model: Any) -> None:
    # Found here in a second, rather than after hours of training.
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            model.save(path)
            keras.saving.load_model(path, compile=False)
    except Exception as e:
        raise ConfigError(
            f"model: the model of {name} cannot be saved and loaded again: {_described(e)}"
            " Use standard layers, or classes with"
            " @keras.saving.register_keras_serializable() and get_config; no Lambda."
        ) from e


def _described(error: Exception) -> str:
    """The error in one line, with the place in the user's code that it came from."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [f for f in frames if "site-packages" not in f.filename] or frames
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}"
