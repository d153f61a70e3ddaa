"""Classifies images with a pushed version, with TensorFlow alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import DataError
from common.images.errors import BadImage
from common.images.pixels import check_image
from common.images.plain import MAX_PIXELS
from common.paths import patternless
from modelstore.artifact import ModelCard, PushManifest


@dataclass(frozen=True, slots=True)
class Prediction:
    """The classes of one image, likeliest first."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    """Probabilities of `labels`."""


class SavedModelPredictor:
    """A pushed version, loaded.

    Args:
      directory: `<serving>/<name>/<version>`.

    Raises:
      DataError: it is not a pushed model.
    """

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf

        self.card = ModelCard.read(directory)
        self.manifest = PushManifest.read(directory)
        self._tf = tf
        try:
            with patternless(directory) as name:
                self._model = tf.saved_model.load(name)
        except (OSError, ValueError, tf.errors.OpError) as e:
            raise DataError(f"{directory} cannot be loaded: {e}") from None
        self._classify = self._model.signatures["serving_bytes"]

    def predict(self, encoded: bytes, max_pixels: int = MAX_PIXELS) -> Prediction:
        """Classifies one image file, decoded as ingestion does it.

        Raises:
          DataError: it cannot be decoded, or has more than `max_pixels`.
        """
        try:
            image = check_image(encoded, max_pixels=max_pixels, depth=self.card.depth)
        except BadImage as e:
            raise DataError(f"is not an image that can be used: {e.reason} ({e.detail}).") from None
        try:
            outputs = self._classify(images=self._tf.constant([image.encoded]))
        except self._tf.errors.InvalidArgumentError:
            raise DataError("is not an image that can be used: TensorFlow refuses it.") from None
        labels = [label.decode() for label in outputs["labels"].numpy()[0]]
        scores = [float(score) for score in outputs["label_scores"].numpy()[0]]
        return Prediction(tuple(labels), tuple(scores))
