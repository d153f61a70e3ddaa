"""An exported PyTorch program as a TensorFlow module, of TensorFlow's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

from trainers.torch_backend.operators import OPERATORS, WHOLE, Planes

_CHECKS = ("_assert", "sym_constrain")
"""Operators that compute nothing begin so."""


class TensorFlowModule(tf.Module):  # type: ignore[misc]
    """uint8 images to scores; the weights are variables."""

    def __init__(self, program: ExportedProgram, run: Callable[[dict[str, Any], Any], Any]) -> None:
        """Traces a program.

        Args:
          run: computes scores of weights, by the names of the program's inputs, and images.
        """
        super().__init__()
        used = {n.name: n for n in program.graph.nodes if n.op == "placeholder" and n.users}
        self._names = {
            spec.arg.name: spec.target
            for spec in program.graph_signature.input_specs
            if spec.kind is not InputKind.USER_INPUT and spec.arg.name in used
        }
        held = {**program.state_dict, **program.constants}
        self._weights = {
            name: tf.Variable(held[target].detach().numpy(), trainable=False)
            for name, target in self._names.items()
        }

        self._run = run
        (images,) = program.graph_signature.user_inputs
        self.__call__.get_concrete_function(tf.TensorSpec(_shape(used[images]), tf.uint8, "images"))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def __call__(self, images_NHW3: Any) -> Any:
        weights = {name: tf.convert_to_tensor(w) for name, w in self._weights.items()}
        # An empty batch becomes one image: not every operator takes none.
        count = tf.shape(images_NHW3)[0]
        missing = tf.cast(count == 0, tf.int32)
        images_NHW3 = tf.pad(images_NHW3, [[0, missing], [0, 0], [0, 0], [0, 0]])
        return self._run(weights, images_NHW3)[:count]

    def assign(self, weights: Mapping[str, Tensor]) -> None:
        """Puts other weights in, by the names that the program has for them."""
        for name, variable in self._weights.items():
            variable.assign(weights[self._names[name]].detach().numpy())


def interpreted(program: ExportedProgram) -> TensorFlowModule:
    """Returns a program as a module of TensorFlow.

    Raises:
      NotImplementedError: there is no counterpart for one of its operators.
    """
    table = torch.export.default_decompositions()
    for target in WHOLE:
        table.pop(target, None)  # type: ignore[no-untyped-call]
    program = program.run_decompositions(table)
    interpreter = _Interpreter(program.graph_module)

    def run(weights: dict[str, Any], images_NHW3: Any) -> Any:
        inputs = [
            images_NHW3 if spec.kind is InputKind.USER_INPUT else weights.get(spec.arg.name)
            for spec in program.graph_signature.input_specs
        ]
        (scores_NC,) = interpreter.run(*inputs, enable_io_processing=False)
        return scores_NC

    return TensorFlowModule(program, run)


class _Interpreter(Interpreter):
    """Runs a graph of PyTorch's operators with TensorFlow's."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if getattr(target, "__name__", "").startswith(_CHECKS):
            return None
        if target not in OPERATORS:
            raise NotImplementedError(f"there is no counterpart for {target}")
        return OPERATORS[target](*args, **kwargs)

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        # Tells TensorFlow what it cannot infer, and finds what a counterpart does otherwise.
        if isinstance(value, Planes):
            count, channels, height, width = _shape(n)
            value.held_NHWC.set_shape([count, height, width, channels])
        elif tf.is_tensor(value) and isinstance(n.meta.get("val"), Tensor):
            value.set_shape(_shape(n))
        return value


def _shape(node: Node) -> list[int | None]:
    """The shape of what a node gives, None where it depends on the batch."""
    return [n if isinstance(n, int) else None for n in node.meta["val"].shape]
