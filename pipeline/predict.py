"""`visionline predict`: image files through a pushed model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError
from common.process.quiet import quiet_stderr
from modelstore.artifact import PushManifest
from modelstore.predictor import Prediction, SavedModelPredictor


def predict_files(
    directory: Path, images: Sequence[Path]
) -> tuple[PushManifest, list[tuple[Path, Prediction]], list[str]]:
    """Classifies image files.

    Args:
      directory: a pushed version.

    Returns:
      Its manifest, the predictions by file, and a sentence per file that
      cannot be used.
    """
    predictions, failures = [], []
    with quiet_stderr():
        predictor = SavedModelPredictor(directory)
        for path in images:
            try:
                predictions.append((path, predictor.predict(path.read_bytes())))
            except OSError as e:
                failures.append(f"{path}: cannot be read: {e.strerror}.")
            except DataError as e:
                failures.append(f"{path}: {e}")
    return predictor.manifest, predictions, failures
