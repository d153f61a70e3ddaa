"""How fast and how equal a PyTorch model is as a TensorFlow SavedModel.

    PYTHONPATH=. python benchmarks/torch_savedmodel.py resnet18 vit_tiny_patch16_224 --batch 1 32

Prints, per model and batch size, the time of one batch in PyTorch, the SavedModel's time as a
multiple of it, and the largest difference between the probabilities of 10 classes.  Weights
are random.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from trainers.config import TrainConfig
from trainers.torch_backend import backend


def main() -> None:
    options = _options()
    set_threads(options.threads)
    rows = []
    if not options.json:
        print(f"{options.size}×{options.size}, {options.threads} threads")
        print(f"{'model':32} {'batch':>5} {'torch ms':>9} {'ratio':>6} {'difference':>11}")
    for name in options.models:
        for row in measure(name, options.size, options.batch):
            rows.append(row)
            if not options.json:
                print(
                    f"{name:32} {row['batch']:5} {row['torch_ms']:9.1f} {row['ratio']:6.2f} "
                    f"{row['difference']:11.1e}",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows))


def set_threads(count: int) -> None:
    """Gives both frameworks as many threads."""
    backend.configure(threads=count, seed=0)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def measure(name: str, size: int, batches: list[int]) -> Iterator[dict[str, Any]]:
    """Yields, per batch size, PyTorch's milliseconds, the ratio and the largest difference."""
    import tensorflow as tf

    config = TrainConfig(framework="pytorch", model=name)
    learner = backend.build(config, num_classes=10, image_size=(size, size))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(learner.to_tensorflow(), folder)
        saved = tf.saved_model.load(folder)
    for batch in batches:
        images_NHW3 = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
        calls = [partial(learner.predict, images_NHW3), partial(saved, tf.constant(images_NHW3))]
        difference = float(np.abs(calls[1]() - calls[0]()).max())
        torch_ms, saved_ms = milliseconds(calls)
        yield {
            "model": name,
            "batch": batch,
            "torch_ms": torch_ms,
            "ratio": saved_ms / torch_ms,
            "difference": difference,
        }


def milliseconds(calls: list[Callable[[], Any]], *, rounds: int = 10) -> list[float]:
    """The least time of each call; in turns, so that other load meets all alike."""
    least = [math.inf] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            np.asarray(call())  # Wakes this framework's threads after the other's turn.
            start = time.perf_counter()
            np.asarray(call())
            least[i] = min(least[i], 1000 * (time.perf_counter() - start))
    return least


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    models = ["resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224"]
    parser.add_argument("models", nargs="*", default=models, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=224, help="image height and width")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one list of objects instead")
    return parser.parse_args()


if __name__ == "__main__":
    main()
