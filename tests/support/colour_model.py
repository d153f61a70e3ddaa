"""A model.onnx of a few lines, whose scores can be told from the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_onnx(path: Path, scale: float, bias: Sequence[float] = (0, 0, 0)) -> None:
    """Writes a model of 8×8 images: logits are mean colours times `scale`, plus `bias`.

    The first classes are red, green and blue, as many as `bias` has values.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Gemm", ["means", "kernel", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    weights = {
        "axes": np.array([1, 2]),
        "kernel": scale * np.eye(3, len(bias), dtype=np.float32),
        "bias": np.array(bias, np.float32),
    }
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "colours",
        [tensor("images", TensorProto.UINT8, ["n", 8, 8, 3])],
        [tensor("scores", TensorProto.FLOAT, ["n", len(bias)])],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
