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
from typing import Any, Literal, TypeVar

from common.config.strict import dump, parse
from common.errors import DataError
from common.files import checksums, digest, read_json, write_json

SERVING_FORMAT = "Format-Serving"
MODEL_CARD = "model.json"
MODEL_ONNX = "model.onnx"
NATIVE = "native"
GOLDEN = "golden.npz"
MANIFEST = "manifest.json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """model.json: what the model is and where it comes from."""

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
    golden: Literal["drawn", "validation"] = "validation"
    """What golden.npz holds: drawn images, or real ones; models that do not say have these."""

    def write(self, directory: Path) -> None:
        write_json(directory / MODEL_CARD, dump(self))

    @classmethod
    def read(cls, directory: Path) -> ModelCard:
        return _read(cls, directory / MODEL_CARD)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushManifest:
    """manifest.json of a pushed version; enough to check and to trace it."""

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
        """See `model_digest`."""
        return digest(self.checksums)

    def write(self, directory: Path) -> None:
        write_json(directory / MANIFEST, dump(self))

    @classmethod
    def read(cls, directory: Path) -> PushManifest:
        return _read(cls, directory / MANIFEST)


def model_digest(directory: Path) -> str:
    """What tells a model from every other, wherever it lies: a digest over all its files.

    Args:
      directory: of a model artifact's `Format-Serving`, or a pushed version.

    Raises:
      OSError: one cannot be read.
    """
    return digest({k: v for k, v in checksums(directory).items() if k != MANIFEST})


def _read(cls: type[T], path: Path) -> T:
    """Reads `cls` from JSON, passing over keys of later versions of visionline."""
    try:
        data = read_json(path)
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return parse(cls, {k: v for k, v in data.items() if k in known})
    except FileNotFoundError:
        raise DataError(f"Expected {path.name} in {path.parent}, found none.") from None
    except (ValueError, AttributeError) as e:
        raise DataError(f"{path} is not readable: {e}") from None
