"""What computes: TensorFlow on the SavedModel, ONNX Runtime on model.onnx.

Both take pixels; image files are decoded by the SavedModel's own graph, so that the
two cannot differ in what they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from common.errors import DataError
from common.paths import patternless
from modelstore.artifact import MODEL_ONNX

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_DECODE = "decode_images"
_BYTES = "serving_bytes"
_TENSOR = "serving_tensor"


class Engine(Protocol):
    name: str
    traces: bool
    """Whether a size of batch that is new costs more, so that batches are padded to few sizes."""

    def scores(self, images_NHW3: Images) -> Floats:
        """Returns probabilities [N, C] of uint8 images."""
        ...


class SavedModel:
    """A SavedModel's decoder, and the TensorFlow engine.

    Raises:
      DataError: it cannot be loaded.
    """

    name = "tensorflow"
    traces = True

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf

        self._tf = tf
        try:
            with patternless(directory) as name:
                self._model = tf.saved_model.load(name)
        except (OSError, ValueError, KeyError, tf.errors.OpError) as e:
            raise DataError(f"{directory} cannot be loaded: {e}") from None
        missing = {_DECODE, _BYTES, _TENSOR} - set(self._model.signatures)
        if missing:
            raise DataError(
                f"{directory} lacks the signature {', '.join(sorted(missing))}: it was made by "
                "an older visionline. Run its pipeline again."
            )
        self.decoder = self._model.signatures[_DECODE]
        """Takes image files, string [N], as `images` and gives `images`, uint8 [N, H, W, 3]; it
        may be part of a `tf.data.Dataset`."""
        self._bytes = self._model.signatures[_BYTES]
        self._tensor = self._model.signatures[_TENSOR]

    def decode(self, encoded: Sequence[bytes]) -> Images:
        """Decodes plain JPEGs and PNGs (`common.images.plain`) to uint8 [N, H, W, 3].

        Raises:
          DataError: one of them cannot be decoded.
        """
        try:
            images = self.decoder(images=self._tf.constant(list(encoded), self._tf.string))
        except self._tf.errors.OpError:
            raise DataError("TensorFlow cannot decode it.") from None
        decoded: Images = images["images"].numpy()
        return decoded

    def scores(self, images_NHW3: Images) -> Floats:
        scores: Floats = self._tensor(images=self._tf.constant(images_NHW3))["scores"].numpy()
        return scores

    def scores_of_files(self, encoded: Sequence[bytes]) -> Floats:
        """Returns probabilities [N, C] of plain JPEGs and PNGs, as TensorFlow Serving would."""
        files = self._tf.constant(list(encoded), self._tf.string)
        scores: Floats = self._bytes(images=files)["scores"].numpy()
        return scores


class Onnx:
    """The ONNX Runtime engine.

    Raises:
      DataError: there is no model.onnx that it can load.
    """

    name = "onnx"
    traces = False

    def __init__(self, directory: Path, threads: int) -> None:
        import onnxruntime

        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads starve the server's own on few cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(directory / MODEL_ONNX), options, providers=["CPUExecutionProvider"]
            )
        except Exception as e:  # its exceptions have no common base
            raise DataError(f"{directory / MODEL_ONNX} cannot be loaded: {e}") from None

    def scores(self, images_NHW3: Images) -> Floats:
        (scores,) = self._session.run(["scores"], {"images": images_NHW3})
        return np.asarray(scores, np.float32)
