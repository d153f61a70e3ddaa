"""Digests of the code that makes and serves models, for cache keys and for the record."""

from __future__ import annotations

from pathlib import Path

from common.files import digest, sha256_file, tree_digest
from pipeline.recording.own_code import own_code
from trainers.config import TrainConfig

_ROOT = Path(__file__).parents[2]
_TRAINING = ("trainers", "modelstore", "common/images")
_SERVING = ("serving", "modelstore", "common/images")


def training_code(config: TrainConfig) -> str:
    """Of all code and weights that make a model."""
    parts = {f: d for p in _TRAINING for f, d in _sources(_ROOT / p).items()}
    parts |= {f"model {name}": sha256_file(path) for name, path in own_code(config.model).items()}
    if config.pretrained is not None:
        weights = Path(config.pretrained)
        parts["pretrained"] = tree_digest(weights) if weights.is_dir() else sha256_file(weights)
    return digest(parts)


def serving_code() -> str:
    """Of the server, and of how it reads images."""
    return digest([_sources(_ROOT / package) for package in _SERVING])


def _sources(package: Path) -> dict[str, str]:
    """SHA-256 of a package's modules, by path."""
    return {p.relative_to(_ROOT).as_posix(): sha256_file(p) for p in package.rglob("*.py")}
