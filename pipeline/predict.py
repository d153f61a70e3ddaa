"""`visionline predict`: image files through a pushed model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.example_gen.config import DataConfig
from components.example_gen.images import BadImage, check_image
from serving.predictor import Prediction, SavedModelPredictor
from trainers.artifact import PushManifest
from trainers.errors import DataError
from trainers.quiet import quiet_stderr


def predict_files(
    directory: Path, images: Sequence[Path]
) -> tuple[PushManifest, list[tuple[Path, Prediction]], list[str]]:
    """Classifies image files, each normalised as ingestion does it.

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
                predictions.append((path, predictor.predict(_read(path))))
            except DataError as e:
                failures.append(f"{path}: {e}")
    return predictor.manifest, predictions, failures


def _read(path: Path) -> bytes:
    try:
        return check_image(path.read_bytes(), max_pixels=DataConfig(path=".").max_pixels).encoded
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}.") from None
    except BadImage as e:
        raise DataError(f"is not an image that can be used: {e.reason} ({e.detail}).") from None
