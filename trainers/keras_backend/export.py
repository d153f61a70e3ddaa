"""A saved Keras model as a TensorFlow module and as ONNX."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainers.errors import ConfigError
from trainers.keras_backend.learner import MODEL_FILE, SPEC_FILE, scores_function

OPSET = 18
"""The newest ONNX operator set that tf2onnx writes."""


def load_model(directory: Path) -> Any:
    """The `keras.Model` in a folder that `KerasLearner.save` wrote."""
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"No {MODEL_FILE} in {directory}. Give the folder of a saved model.")
    name = json.loads((directory / SPEC_FILE).read_text("utf-8"))["model"]
    if ":" in name:
        # Classes that the user's module registers must be known to load it;
        # a model of standard layers loads without the module.
        with contextlib.suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    return keras.saving.load_model(path, compile=False)


class _Scores(tf.Module):  # type: ignore[misc]
    """Tracks a model's variables and nothing else of Keras in a SavedModel."""

    def __init__(self, model: Any) -> None:
        super().__init__(name="scores")
        self._weights = [weight.value for weight in model.variables]
        self._scores = scores_function(model)

    def __call__(self, images_NHW3: Any) -> Any:
        return self._scores(images_NHW3)


def to_tensorflow(directory: Path) -> Any:
    """See `trainers.contract.Backend.to_tensorflow`."""
    return _Scores(load_model(directory))


def to_onnx(directory: Path, path: Path) -> None:
    """See `trainers.contract.Backend.to_onnx`."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    scores = scores_function(load_model(directory))
    named = tf.function(lambda images: {"scores": scores(images)}, autograph=False)
    model, _ = tf2onnx.convert.from_function(
        named, input_signature=scores.input_signature, opset=OPSET
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
