"""A PyTorch model natively and as the SavedModel that is exported, in turns."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.core.machine import cpus
from benchmarks.torch_savedmodel import milliseconds
from trainers.config import TrainConfig
from trainers.contract import load_backend


def main(model: str, size: str, *batches: str) -> None:
    backend = load_backend("pytorch")
    backend.configure(threads=cpus(), seed=0)
    import tensorflow as tf

    side = int(size)
    config = TrainConfig(framework="pytorch", model=model)
    learner = backend.build(config, num_classes=10, image_size=(side, side))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        native, saved = Path(folder, "native"), Path(folder, "saved")
        native.mkdir()
        learner.save(native)
        tf.saved_model.save(backend.to_tensorflow(native), str(saved))
        loaded = tf.saved_model.load(str(saved))
        for batch in map(int, batches):
            shape = (batch, side, side, 3)
            images_NHW3 = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
            calls: list[Callable[[], Any]] = [
                partial(learner.predict, images_NHW3),
                partial(loaded, images_NHW3),
            ]
            found[str(batch)] = milliseconds(calls)
    print(json.dumps({"milliseconds": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
