"""The engines of `modelstore.engines`, with the errors of a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError
from modelstore import engines
from modelstore.engines import Engine, Floats, Images
from serving.errors import InvalidRequestError, LoadError

__all__ = ["Engine", "Floats", "Images", "Inputs", "Onnx", "SavedModel", "set_threads"]

Inputs = Sequence[bytes] | Images
"""Of a request: encoded image files, or pixels, uint8 [N, H, W, 3]."""


def set_threads(threads: int) -> None:
    """Sizes TensorFlow's pools; before anything is loaded."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Twice as many as decode large images (`serving.models.decoding`): a model whose turn it is
    # waits for the CPU, which the system shares out, and not for one of these.
    tf.config.threading.set_inter_op_parallelism_threads(2 * threads + 2)


class SavedModel(engines.SavedModel):
    """A SavedModel's decoder, and the TensorFlow engine.

    Raises:
      LoadError: it cannot be loaded.
    """

    def __init__(self, directory: Path) -> None:
        try:
            super().__init__(directory)
        except DataError as e:
            raise LoadError(str(e)) from None

    def decode(self, encoded: Sequence[bytes]) -> Images:
        """Decodes plain JPEGs and PNGs (`common.images.plain`) to uint8 [N, H, W, 3].

        Raises:
          InvalidRequestError: one of them cannot be decoded.
        """
        try:
            return super().decode(encoded)
        except DataError as e:
            raise InvalidRequestError(str(e)) from None


class Onnx(engines.Onnx):
    """The ONNX Runtime engine.

    Raises:
      LoadError: there is no model.onnx that it can load.
    """

    def __init__(self, directory: Path, threads: int) -> None:
        try:
            super().__init__(directory, threads)
        except DataError as e:
            raise LoadError(str(e)) from None
