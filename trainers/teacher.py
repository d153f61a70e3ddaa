"""A teacher: the pushed model that a new one learns from, as a config names it.

Light, as the command line asks; what it answers is for `trainers.distillation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import ConfigError, DataError
from modelstore.artifact import MODEL_ONNX, ModelCard, PushManifest, model_digest
from modelstore.versions import list_versions, parse_version
from trainers.config import DistillationConfig, TrainConfig


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model on the disk that another learns from."""

    folder: Path
    card: ModelCard

    @property
    def name(self) -> str:
        """Is `name@version` of a pushed version, or else the folder."""
        pushed = PushManifest.find(self.folder)
        return f"{pushed.name}@{pushed.version}" if pushed else str(self.folder)

    @property
    def digest(self) -> str:
        """Tells the model from every other; of all its files."""
        return model_digest(self.folder)


def find_teacher(config: DistillationConfig) -> Teacher | None:
    """Finds the teacher; None where the config names none.

    Raises:
      ConfigError: it is no model, or none that can teach.
    """
    if config.model is None:
        return None
    folder = _folder(config.model)
    try:
        card = ModelCard.read(folder)
    except DataError as e:
        raise ConfigError(f"train.distillation.model: expected a pushed model. {e}") from None
    if not (folder / MODEL_ONNX).is_file():
        raise ConfigError(
            f"train.distillation.model: {folder} has no {MODEL_ONNX}, by which a teacher answers. "
            "Take another model."
        )
    return Teacher(folder, card)


def pinned(config: TrainConfig) -> TrainConfig:
    """Returns the config with the very version in it, so that a later push changes nothing."""
    teacher = find_teacher(config.distillation)
    if teacher is None:
        return config
    return replace(config, distillation=replace(config.distillation, model=str(teacher.folder)))


def _folder(model: str) -> Path:
    path = Path(model)
    named, at, version = model.rpartition("@")
    if at and not path.exists():
        path = Path(named, version)
    versions = list_versions(path)
    if versions:
        return path / str(versions[-1])
    if not path.is_dir():
        kept = list_versions(path.parent) if parse_version(path.name) else []
        there = f" Versions: {', '.join(map(str, kept))}." if kept else ""
        raise ConfigError(
            "train.distillation.model: expected the folder of a pushed model, such as "
            f"serving/photos or serving/photos@3, found nothing at {str(path)!r}.{there}"
        )
    return path
