"""One pushed version, loaded, compared with its golden outputs, and warm."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from common.errors import DataError
from common.images.pixels import to_png
from modelstore.artifact import GOLDEN, ModelCard, PushManifest
from modelstore.versions import damage
from serving.config import BatchingConfig, ModelConfig
from serving.errors import LoadError
from serving.models.batching import Batcher, Observer
from serving.models.decoding import Decoder
from serving.models.engines import Engine, Floats, Images, Onnx, SavedModel
from serving.models.shares import Decoding

_TRIALS = 5


class LoadedVersion:
    """A version that answers.

    Args:
      directory: `<serving>/<name>/<version>`.
      decoding: where large images are decoded; that of the server.

    Raises:
      LoadError: its files are damaged, it cannot be loaded, or it does not give the
        scores that it gave when it was trained.
    """

    def __init__(
        self,
        directory: Path,
        config: ModelConfig,
        threads: int,
        observer: Observer | None = None,
        *,
        max_pixels: int,
        decoding: Decoding | None = None,
    ) -> None:
        began = time.monotonic()
        try:
            self.card = ModelCard.read(directory)
            PushManifest.read(directory)
        except DataError as e:
            raise LoadError(str(e)) from None
        if differences := damage(directory):
            raise LoadError(f"{directory} is damaged: {'; '.join(differences[:3])}.")
        self.directory = directory
        self.name, self.version = directory.parent.name, int(directory.name)
        self._saved_model = SavedModel(directory)
        golden = _golden(directory)
        engines = self._engines(config, threads)
        self.parity = {e.name: self._check(e, golden) for e in engines}
        """Largest difference of any score from the golden ones, by engine."""
        times = {e.name: _milliseconds(e, golden[0]) for e in engines} if engines[1:] else {}
        engine = min(engines, key=lambda e: times.get(e.name, 0.0))
        self.engine = engine.name
        self._warm(engine, config.batching)
        self._batcher = Batcher(
            Decoder(self._saved_model.decode, max_pixels, self.card.depth),
            engine.scores,
            config.batching,
            observer,
            pads=engine.traces,
            name=f"{self.name}-{self.version}",
            decoding=decoding,
        )
        self.submit, self.close = self._batcher.submit, self._batcher.close
        self.seconds = time.monotonic() - began
        """How long it took until it was warm."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Returns height, width, channels."""
        return (*self.card.image_size, 3)

    def _engines(self, config: ModelConfig, threads: int) -> list[Engine]:
        if config.engine == "tensorflow":
            return [self._saved_model]
        onnx = Onnx(self.directory, threads)
        return [onnx] if config.engine == "onnx" else [onnx, self._saved_model]

    def _check(self, engine: Engine, golden: tuple[Images, Floats]) -> float:
        images, expected = golden
        try:
            difference = float(np.abs(engine.scores(images) - expected).max())
        except Exception as e:
            raise LoadError(f"{self.directory}: {engine.name} fails: {e}") from None
        # Written so that a NaN is a failure too.
        if not difference <= self.card.parity_tolerance:
            raise LoadError(
                f"{self.directory}: {engine.name} differs from the trained model by "
                f"{difference:.2g} on the golden images; at most "
                f"{self.card.parity_tolerance:g} is allowed."
            )
        return difference

    def _warm(self, engine: Engine, batching: BatchingConfig) -> None:
        """Runs every batch size once, so that nothing compiles on a request."""
        for size in batching.buckets:
            engine.scores(np.zeros((size, *self.image_shape), np.uint8))
        self._saved_model.decode([to_png(np.zeros(self.image_shape, np.uint8))])


def _golden(directory: Path) -> tuple[Images, Floats]:
    try:
        with np.load(directory / GOLDEN) as golden:
            return golden["images_NHW3"], golden["scores_NC"]
    except (OSError, ValueError, KeyError) as e:
        raise LoadError(f"{directory / GOLDEN} cannot be read: {e}") from None


def _milliseconds(engine: Engine, images_NHW3: Images) -> float:
    """Measures the time per image, at the golden images' batch size; the median of a few calls."""
    seconds = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        engine.scores(images_NHW3)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1000 / len(images_NHW3)
