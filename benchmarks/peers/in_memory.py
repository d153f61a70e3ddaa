"""One framework's training by visionline's loop, and by hand on arrays in memory, in turns."""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainers import data, loop
from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import load_backend

BATCH = 64
SIZE = (32, 32)
_VALIDATED = 64
_AUGMENT = AugmentConfig(horizontal_flip=False, crop_padding=0.0)


def main(framework: str, folder: str, rounds: str) -> None:
    backend = load_backend(framework)
    backend.configure(threads=0, seed=0)
    images, labels = arrays(Path(folder))
    classes = int(labels.max()) + 1
    peer = importlib.import_module(f"benchmarks.peers.{framework}_loop")
    by_hand = peer.epochs(images, labels, classes, batch=BATCH)
    ours = Loop(backend, framework, images, labels, classes)
    next(by_hand)
    ours.epoch()
    ours.forget()
    rates: list[list[float]] = [[], []]
    for _ in range(int(rounds)):
        rates[0].append(ours.epoch())
        rates[1].append(next(by_hand))
    found = {
        "loop_images_per_second": statistics.median(rates[0]),
        "peer_images_per_second": statistics.median(rates[1]),
        "waiting": ours.waited / ours.trained,
    }
    print(json.dumps(found))


def arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a folder of JPEGs of one size; uint8 N×H×W×3 and int64 N."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    files = [(f, n) for n, place in enumerate(classes) for f in sorted(place.iterdir())]
    images = np.stack([np.asarray(Image.open(f).convert("RGB")) for f, _ in files])
    return images, np.array([n for _, n in files], np.int64)


class Loop:
    """visionline's loop, an epoch at a time, with how long it waited for batches."""

    def __init__(
        self, backend: Any, framework: str, images: np.ndarray, labels: np.ndarray, classes: int
    ) -> None:
        self.forget()
        self._framework = framework
        self._learner = backend.build(self._config, num_classes=classes, image_size=SIZE)
        self._weights = np.ones(classes, np.float32)
        self._folder = tempfile.TemporaryDirectory()
        for name, end in (("train", None), ("val", _VALIDATED)):
            place = Path(self._folder.name, name)
            place.mkdir()
            np.save(place / data.IMAGES, images[:end])
            np.save(place / data.LABELS, labels[:end])
        self._splits = [data.Split.open(Path(self._folder.name, n)) for n in ("train", "val")]
        loop.batches = self._timed(data.batches)  # type: ignore[attr-defined]

    def forget(self) -> None:
        self.waited = self.trained = 0.0

    def epoch(self) -> float:
        """Trains for an epoch; returns images a second."""
        train, val = self._splits
        (epoch,) = loop.train(
            self._learner, self._config, train, val, self._weights, report=lambda _: None
        )
        self.trained += len(train) / epoch.images_per_second
        return epoch.images_per_second

    @property
    def _config(self) -> TrainConfig:
        return TrainConfig(
            framework=self._framework,
            model="small_cnn",
            epochs=1,
            batch_size=BATCH,
            weight_decay=0.0,
            augment=_AUGMENT,
        )

    def _timed(self, batches: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            source = batches(*args, **kwargs)
            while True:
                began = time.perf_counter()
                batch = next(source, None)
                self.waited += time.perf_counter() - began
                if batch is None:
                    return
                yield batch

        return timed


if __name__ == "__main__":
    main(*sys.argv[1:])
