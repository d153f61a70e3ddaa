"""The model artifact: what a trained model looks like on disk.

One layout for every framework, below the artifact's `Format-Serving/`:

    saved_model.pb, variables/, assets/   TensorFlow SavedModel (see trainers.export)
    model.onnx      decoded uint8 images to scores
    model.json      `ModelCard`
    golden.npz      images_NHW3 (uint8, drawn) and scores_NC (float32) of the native model
    native/         to train on from

A pushed version is a copy of it with a `manifest.json` (`PushManifest`) added.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from common.config.strict import dump, parse
from common.errors import DataError
from common.files import checksums, digest, read_json, write_json
from common.images.plain import DEPTH

SERVING_FORMAT = "Format-Serving"
MODEL_CARD = "model.json"
MODEL_ONNX = "model.onnx"
NATIVE = "native"
GOLDEN = "golden.npz"
MANIFEST = "manifest.json"
PICTURES = "tensorboard/images"
"""Beside a training's figures: event files that show images, which `erase` removes."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is kept in a JSON file of its own."""

    FILE: ClassVar[str]

    def write(self, directory: Path) -> None:
        write_json(directory / self.FILE, dump(self))

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Reads it, passing over keys of later versions of visionline.

        Raises:
          DataError: it is not there, or cannot be read.
        """
        path = directory / cls.FILE
        names = {f.name for f in dataclasses.fields(cls)}
        try:
            return parse(cls, {k: v for k, v in read_json(path).items() if k in names})
        except FileNotFoundError:
            raise DataError(f"Expected {path.name} in {path.parent}, found none.") from None
        except (ValueError, AttributeError) as e:
            raise DataError(f"{path} is not readable: {e}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard(_Stored):
    """model.json: what the model is and where it comes from."""

    FILE = MODEL_CARD

    framework: str
    architecture: str
    parameter_count: int
    image_size: tuple[int, int]
    """Height, width."""
    class_names: tuple[str, ...]
    """In the order of the scores."""
    config: dict[str, Any]
    """The resolved `TrainConfig`."""
    seed: int
    accelerator: str
    versions: dict[str, str]
    dataset_digest: str
    transform_digest: str
    metrics: dict[str, float]
    """Of the epoch whose weights these are: loss, accuracy, val_loss, val_accuracy."""
    epochs_run: int
    best_epoch: int
    parity: dict[str, float]
    """Largest difference of any score from the native model's, by format."""
    parity_tolerance: float
    latency_onnx_ms: float | None = None
    """Of one image through ONNX Runtime on the machine that trained it, median."""
    depth: int = DEPTH
    """Bits that the samples of image files of 16 bits were taken to have in training."""
    golden: Literal["drawn", "validation"] = "validation"
    """What golden.npz holds: drawn images, or real ones; models that do not say have these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushManifest(_Stored):
    """manifest.json of a pushed version; enough to check and to trace it."""

    FILE = MANIFEST

    name: str
    version: int
    pushed_at: str
    """ISO 8601, UTC."""
    framework: str
    architecture: str
    model_uri: str
    run_id: str
    mlmd: dict[str, int]
    """Ids in the metadata store: model, blessing, pusher_execution."""
    rolled_back_to: int | None = None
    """The older version that this one is a copy of, where a rollback made it."""
    withdrawn: tuple[str, ...] = ()
    """URIs of the models that the rollback took out of service; Pusher passes them over."""
    withdrawn_models: tuple[str, ...] = ()
    """The same models by `model_digest`: a URI may come to mean another one."""
    checksums: dict[str, str] = field(default_factory=dict)
    """sha256 of every other file of the version, by relative path."""

    @property
    def model_digest(self) -> str:
        """Returns what `model_digest` does for the version's folder."""
        return digest(self.checksums)

    @classmethod
    def find(cls, directory: Path) -> PushManifest | None:
        """Returns the manifest; None where it is missing or cannot be read."""
        try:
            return cls.read(directory)
        except DataError:
            return None


def model_digest(directory: Path) -> str:
    """Returns what tells a model from every other: a digest over all its files.

    Args:
      directory: of a model artifact's `Format-Serving`, or a pushed version.

    Raises:
      OSError: one cannot be read.
    """
    return digest({k: v for k, v in checksums(directory).items() if k != MANIFEST})
