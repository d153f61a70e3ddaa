"""A PyTorch program embedded in TensorFlow as XLA's StableHLO, operator by operator.

It knows more operators than `tensorflow_graph` and is slower: XLA compiles for each batch size,
and its convolutions take several times as long on CPUs.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import torchax.device_module
import torchax.ops.jaten  # what it knows of operators
from jax.experimental import jax2tf
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torchax import decompositions
from torchax.export import JaxInterpreter

from trainers.torch_backend.tensorflow_graph import TensorFlowModule

PLATFORMS = ("cpu", "cuda")
"""Where the SavedModel runs."""

# torchax announces to PyTorch a device that PyTorch's optimizers then ask for
# its streams, and fail: without this, no training after a conversion.
torchax.device_module.is_available = lambda: False


def embedded(program: ExportedProgram) -> TensorFlowModule:
    """Returns a program as a module of TensorFlow."""
    program = program.run_decompositions().run_decompositions(decompositions.DECOMPOSITIONS)

    def score(weights: dict[str, Any], images_NHW3: Any) -> Any:
        inputs = [
            images_NHW3 if spec.kind is InputKind.USER_INPUT else weights.get(spec.arg.name)
            for spec in program.graph_signature.input_specs
        ]
        interpreter = JaxInterpreter(program.graph_module)
        (scores_NC,) = interpreter.run(*inputs, enable_io_processing=False)
        return scores_NC

    powers_of_two = [2**i for i in range(31)]
    # JAX has no 64-bit numbers unless told so.
    narrow = {tf.int64: tf.int32, tf.float64: tf.float32}

    def run(weights: dict[str, Any], images_NHW3: Any) -> Any:
        height, width = images_NHW3.shape[1:3]
        converted = jax2tf.convert(
            score,
            polymorphic_shapes=[None, f"(n, {height}, {width}, 3)"],
            with_gradient=False,
            native_serialization_platforms=PLATFORMS,
        )
        # XLA compiles once per batch size, for seconds: let there be few.
        count = tf.shape(images_NHW3)[0]
        padded = tf.gather(powers_of_two, tf.searchsorted(powers_of_two, [count])[0])
        images_NHW3 = tf.pad(images_NHW3, [[0, padded - count], [0, 0], [0, 0], [0, 0]])
        weights = {k: tf.cast(w, narrow.get(w.dtype, w.dtype)) for k, w in weights.items()}
        return converted(weights, images_NHW3)[:count]

    return TensorFlowModule(program, run)
