"""A Keras model as a TensorFlow module and as ONNX."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import TrainingError

OPSET = 18
"""The newest ONNX operator set that tf2onnx writes."""


class Scores(tf.Module):  # type: ignore[misc]
    """Tracks a model's variables and nothing else of Keras in a SavedModel."""

    def __init__(self, model: Any, scores: Any) -> None:
        super().__init__(name="scores")
        self._weights = [weight.value for weight in model.variables]
        self._scores = scores

    def __call__(self, images_NHW3: Any) -> Any:
        return self._scores(images_NHW3)


def write_onnx(scores: Any, path: Path) -> None:
    """Writes a `tf.function` of images to scores; see `trainers.contract.Learner.to_onnx`.

    Raises:
      TrainingError: the model has operations that ONNX or tf2onnx lacks.
    """
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # Said below, in one message.
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
