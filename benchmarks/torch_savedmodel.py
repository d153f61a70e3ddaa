"""How fast and how equal a PyTorch model is as a TensorFlow SavedModel.

    PYTHONPATH=. python benchmarks/torch_savedmodel.py resnet18 vit_tiny_patch16_224

Prints, per model, the time of one batch in PyTorch, the SavedModel's time as
a multiple of it, with depthwise convolutions as XLA runs them ("XLA") and as
`trainers.torch_backend.lowering` does ("ours"), and the largest difference
between the probabilities of 10 classes.  Weights are random.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainers.config import TrainConfig
from trainers.torch_backend import backend


def main() -> None:
    options = _options()
    backend.configure(threads=options.threads, seed=0)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(f"batch {options.batch}, {options.size}×{options.size}, {options.threads} threads")
    print(f"{'model':32} {'torch ms':>9} {'XLA':>6} {'ours':>6} {'difference':>11}")
    for name in options.models:
        torch_ms, xla, ours, difference = measure(name, options.size, options.batch)
        print(f"{name:32} {torch_ms:9.1f} {xla:6.2f} {ours:6.2f} {difference:11.1e}", flush=True)


def measure(name: str, size: int, batch: int) -> tuple[float, float, float, float]:
    """PyTorch's milliseconds, the two ratios, the largest difference of either."""
    import tensorflow as tf

    from trainers.torch_backend.export import to_tensorflow

    images_NHW3 = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    config = TrainConfig(framework="pytorch", model=name)
    learner = backend.build(config, num_classes=10, image_size=(size, size))
    expected_NC = learner.predict(images_NHW3)
    calls: list[Callable[[], Any]] = [partial(learner.predict, images_NHW3)]
    with tempfile.TemporaryDirectory() as folder:
        native = Path(folder, "native")
        native.mkdir()
        learner.save(native)
        for fast in (False, True):
            saved = str(Path(folder, f"saved_{fast}"))
            tf.saved_model.save(to_tensorflow(native, fast_convolutions=fast), saved)
            calls.append(partial(tf.saved_model.load(saved), images_NHW3))
    difference = max(float(np.abs(call() - expected_NC).max()) for call in calls[1:])
    torch_ms, xla_ms, ours_ms = milliseconds(calls)
    return torch_ms, xla_ms / torch_ms, ours_ms / torch_ms, difference


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
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
