"""One model in the formats that are published, as far as possible before it is trained."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from common.errors import ConfigError
from trainers.own_models import described
from trainers.torch_backend.scorer import Scorer, export_program


class Formats:
    """A scorer's graph, traced once; each format is made of it with the weights of the moment."""

    def __init__(self, scorer: Scorer, image_size: tuple[int, int]) -> None:
        self._scorer = scorer
        self._program = export_program(on_cpu(scorer), image_size)
        self._tensorflow: Any = None
        self._onnx: Any = None

    def prepare(self, name: str) -> None:
        """Makes what is weights apart the whole export.

        Raises:
          ConfigError: a format cannot express the model.
        """
        try:
            self._tensorflow = to_tensorflow(self._program)
        except Exception as e:
            raise _refused(name, "a TensorFlow SavedModel", e) from e
        try:
            self._onnx = _to_onnx(self._program)
        except Exception as e:
            raise _refused(name, "ONNX", e) from e

    def program(self) -> ExportedProgram:
        self._weights()
        return self._program

    def tensorflow(self) -> Any:
        weights = self._weights()
        self._tensorflow = self._tensorflow or to_tensorflow(self._program)
        self._tensorflow.assign(weights)
        return self._tensorflow

    def write_onnx(self, path: Path) -> None:
        weights = self._weights()
        # Optimising mixes weights: what has been optimised cannot be given others.
        onnx, self._onnx = self._onnx or _to_onnx(self._program), None
        onnx.apply_weights({k: w for k, w in weights.items() if k in onnx.model.graph.initializers})
        onnx.optimize()
        onnx.save(path, external_data=False)

    def _weights(self) -> dict[str, Tensor]:
        """Puts the scorer's weights into the program and returns them, by their names there."""
        held = {**self._program.state_dict, **self._program.constants}
        named = {
            **dict(self._scorer.named_parameters(remove_duplicate=False)),
            **dict(self._scorer.named_buffers(remove_duplicate=False)),
        }
        with torch.no_grad():
            for name in held.keys() & named.keys():
                held[name].copy_(named[name])
        return held


def on_cpu(scorer: Scorer) -> Scorer:
    """A copy in PyTorch's own order of memory, for anything but training."""
    scorer = copy.deepcopy(scorer).eval()
    return scorer.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def to_tensorflow(program: ExportedProgram) -> Any:
    """Returns a program as a `TensorFlowModule`, of TensorFlow's own operators where it has all."""
    from trainers.torch_backend import tensorflow_graph

    try:
        return tensorflow_graph.interpreted(program)
    except Exception as e:
        logging.info("The model is embedded as StableHLO, since: %s", e)
    from trainers.torch_backend import stablehlo

    return stablehlo.embedded(program)


def _to_onnx(program: ExportedProgram) -> Any:
    return torch.onnx.export(
        program,
        dynamic_shapes=({0: "batch"},),
        input_names=["images"],
        output_names=["scores"],
        dynamo=True,
        optimize=False,
        verbose=False,
    )


def _refused(name: str, format_name: str, error: Exception) -> ConfigError:
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return ConfigError(
        f"model: {name} cannot be exported as {format_name}, which evaluation and serving need: "
        f"{described(error)} Choose another model, or leave out of yours what this names."
    )
