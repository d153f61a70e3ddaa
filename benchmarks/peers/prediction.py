"""A plain loop in the model's own framework: read, decode, predict, metrics with NumPy."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from modelstore.artifact import NATIVE, ModelCard
from trainers.contract import load_backend

_BATCH = 256


def main(framework: str, version: str, folder: str) -> None:
    backend = load_backend(framework)
    backend.configure(threads=0, seed=0)
    card = ModelCard.read(Path(version))
    predictor = backend.load(Path(version) / NATIVE)
    files = sorted(p for p in Path(folder).rglob("*.jpg"))
    began = time.perf_counter()
    scores_NC = np.concatenate([predictor.predict(batch) for batch in batches(files)])
    labels_N = np.array([card.class_names.index(f.parent.name) for f in files])
    found = metrics(scores_NC, labels_N)
    print(json.dumps({"seconds": time.perf_counter() - began, **found}))


def batches(files: list[Path]) -> Iterator[np.ndarray]:
    """Yields uint8 N×H×W×3, decoded by Pillow on threads while the model works."""
    with ThreadPoolExecutor() as pool:
        decoded = pool.map(decode, files)
        for start in range(0, len(files), _BATCH):
            yield np.stack([next(decoded) for _ in files[start : start + _BATCH]])


def decode(file: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))


def metrics(scores_NC: np.ndarray, labels_N: np.ndarray) -> dict[str, float]:
    """Returns accuracy, loss and the least accuracy of a class."""
    classes = scores_NC.shape[1]
    predicted_N = scores_NC.argmax(1)
    confusion_CC = np.zeros((classes, classes), np.int64)
    np.add.at(confusion_CC, (labels_N, predicted_N), 1)
    of_class_C = confusion_CC.diagonal() / np.maximum(confusion_CC.sum(1), 1)
    likely_N = np.maximum(scores_NC[np.arange(len(labels_N)), labels_N], 1e-7)
    return {
        "accuracy": float((predicted_N == labels_N).mean()),
        "loss": float(-np.log(likely_N).mean()),
        "least_class_accuracy": float(of_class_C.min()),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
