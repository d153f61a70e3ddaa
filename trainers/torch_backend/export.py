"""The native model as TensorFlow or ONNX, from model.pt2 alone.

TensorFlow: the exported graph is interpreted in JAX (torchax has a JAX
function for each PyTorch operator), which jax2tf embeds in a TensorFlow graph
as XLA's StableHLO.  What comes out needs TensorFlow alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from trainers.torch_backend.scorer import PROGRAM

PLATFORMS = ("cpu", "cuda")
"""Where the SavedModel runs."""


def to_onnx(directory: Path, path: Path) -> None:
    """See `trainers.contract.Backend.to_onnx`."""
    torch.onnx.export(
        torch.export.load(directory / PROGRAM),
        f=path,
        dynamic_shapes=({0: "batch"},),
        input_names=["images"],
        output_names=["scores"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def to_tensorflow(directory: Path, *, fast_convolutions: bool = True) -> Any:
    """See `trainers.contract.Backend.to_tensorflow`.

    Args:
      fast_convolutions: whether CPUs run depthwise convolutions as `lowering`
        does or, for the benchmark to compare, as XLA does.
    """
    import tensorflow as tf
    from jax.experimental import jax2tf

    program = torch.export.load(directory / PROGRAM)
    height, width = _image_size(program)
    weights, score = to_jax(program, fast_convolutions=fast_convolutions)
    converted = jax2tf.convert(
        score,
        polymorphic_shapes=[None, f"(n, {height}, {width}, 3)"],
        with_gradient=False,
        native_serialization_platforms=PLATFORMS,
    )
    powers_of_two = [2**i for i in range(31)]

    class Scores(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tf.Variable(w, trainable=False) for w in weights]

        @tf.function(
            autograph=False,
            input_signature=[tf.TensorSpec([None, height, width, 3], tf.uint8, "images")],
        )  # type: ignore[untyped-decorator]
        def __call__(self, images_NHW3: Any) -> Any:
            # XLA compiles once per batch size, for seconds: let there be few.
            count = tf.shape(images_NHW3)[0]
            padded = tf.gather(powers_of_two, tf.searchsorted(powers_of_two, [count])[0])
            images_NHW3 = tf.pad(images_NHW3, [[0, padded - count], [0, 0], [0, 0], [0, 0]])
            return converted(self.weights, images_NHW3)[:count]

    return Scores()


def to_jax(
    program: ExportedProgram, *, fast_convolutions: bool
) -> tuple[list[np.ndarray], Callable[[Any, Any], Any]]:
    """The weights, and a JAX function of (weights, images) to probabilities."""
    import jax
    from torchax import decompositions
    from torchax.export import JaxInterpreter

    from trainers.torch_backend.lowering import FastInterpreter

    program = program.run_decompositions().run_decompositions(decompositions.DECOMPOSITIONS)
    graph = program.graph_module
    weights, names = _weights(program)

    def run(interpreter: Any) -> Callable[[Any, Any], Any]:
        def score(weights: Any, images_NHW3: Any) -> Any:
            by_name = dict(zip(names, weights, strict=True))
            inputs = [
                images_NHW3 if spec.kind is InputKind.USER_INPUT else by_name.get(spec.arg.name)
                for spec in program.graph_signature.input_specs
            ]
            (scores_NC,) = interpreter(graph).run(*inputs, enable_io_processing=False)
            return scores_NC

        return score

    if not fast_convolutions:
        return weights, run(JaxInterpreter)

    def by_platform(weights: Any, images_NHW3: Any) -> Any:
        return jax.lax.platform_dependent(
            weights, images_NHW3, cpu=run(FastInterpreter), default=run(JaxInterpreter)
        )

    return weights, by_platform


def _weights(program: ExportedProgram) -> tuple[list[np.ndarray], list[str]]:
    """The parameters, buffers and constants that the graph uses, with their nodes' names."""
    used = {n.name for n in program.graph.nodes if n.op == "placeholder" and n.users}
    held = {**program.state_dict, **program.constants}
    named = {
        spec.arg.name: held[spec.target].detach().numpy()
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.arg.name in used and spec.target
    }
    # JAX has no 64-bit numbers unless told so.
    narrow = {np.dtype(np.int64): np.int32, np.dtype(np.float64): np.float32}
    arrays = [a.astype(narrow.get(a.dtype, a.dtype)) for a in named.values()]
    return arrays, list(named)


def _image_size(program: ExportedProgram) -> tuple[int, int]:
    (name,) = program.graph_signature.user_inputs
    (node,) = (n for n in program.graph.nodes if n.name == name)
    _, height, width, _ = node.meta["val"].shape
    return height, width
