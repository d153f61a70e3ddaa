"""A saved Keras model as a TensorFlow module and as ONNX."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.errors import ConfigError, TrainingError
from modelstore.tasks import DEFAULT
from trainers.keras_backend.learner import MODEL_FILE, SPEC_FILE, scores_function

OPSET = 18
"""The newest ONNX operator set that tf2onnx writes."""


def load_model(directory: Path) -> tuple[Any, str]:
    """The `keras.Model` in a folder that `KerasLearner.save` wrote, and its task."""
    path = directory / MODEL_FILE
    if not path.is_file():
        raise ConfigError(f"No {MODEL_FILE} in {directory}. Give the folder of a saved model.")
    spec = json.loads((directory / SPEC_FILE).read_text("utf-8"))
    name = spec["model"]
    if ":" in name:
        # Classes that the user's module registers must be known to load it;
        # a model of standard layers loads without the module.
        with contextlib.suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    return keras.saving.load_model(path, compile=False), spec.get("task", DEFAULT)


class _Scores(tf.Module):  # type: ignore[misc]
    """Tracks a model's variables and nothing else of Keras in a SavedModel."""

    def __init__(self, model: Any, task: str) -> None:
        super().__init__(name="scores")
        self._weights = [weight.value for weight in model.variables]
        self._scores = scores_function(model, task)

    def __call__(self, images_NHW3: Any) -> Any:
        return self._scores(images_NHW3)


def to_tensorflow(directory: Path) -> Any:
    """See `trainers.contract.Backend.to_tensorflow`."""
    return _Scores(*load_model(directory))


def to_onnx(directory: Path, path: Path) -> None:
    """See `trainers.contract.Backend.to_onnx`.

    Raises:
      TrainingError: the model has operations that ONNX or tf2onnx lacks.
    """
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # Said below, in one message.
    scores = scores_function(*load_model(directory))
    named = tf.function(lambda images: {"scores": scores(images)}, autograph=False)
    with _inlined_calls():
        traced = named.get_concrete_function(*scores.input_signature)
    model, _ = tf2onnx.convert.from_function(
        named,
        input_signature=scores.input_signature,
        opset=OPSET,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    _inline_constants(model.graph, traced.graph.captures)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as e:
        reason = str(e).splitlines()[0]
        raise TrainingError(f"The model cannot be written as ONNX: {reason}.") from e
    onnx.save(model, str(path))


@contextlib.contextmanager
def _inlined_calls() -> Iterator[None]:
    """Traces functions within functions into one graph.

    Keras wraps grouped convolutions in a function that XLA must compile, which
    tf2onnx does not look into; ONNX needs no such help.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Erfc(x) as 1 - Erf(x): tf2onnx does not know the op, which Keras's GELU uses."""
    inputs, outputs = node.input, node.output
    kind = {"dtypes": [ctx.get_dtype(outputs[0])], "shapes": [ctx.get_shape(outputs[0])]}
    ctx.remove_node(node.name)
    one = ctx.make_const(f"{name}_one", np.array(1, np.float32))
    erf = ctx.make_node("Erf", inputs, **kind)
    ctx.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, **kind)


def _inline_constants(graph: Any, captures: Any) -> None:
    """Gives the tensors that layers hold (Normalization does) their values.

    tf2onnx freezes variables only and leaves such tensors as further inputs.
    """
    from onnx import numpy_helper

    values = {inner.name: outer for outer, inner in captures if outer.dtype != tf.resource}
    used = {name for node in graph.node for name in node.input}
    for value in [value for value in graph.input if value.name in values]:
        graph.input.remove(value)
        if value.name in used:
            array = np.asarray(values[value.name])
            graph.initializer.append(numpy_helper.from_array(array, value.name))
