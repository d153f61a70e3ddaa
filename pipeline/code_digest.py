"""Digests of the code that makes and serves models, for cache keys and for the record."""

from __future__ import annotations

from pathlib import Path

from pipeline.own_code import own_code
from trainers.config import TrainConfig
from trainers.files import digest, sha256_file, tree_digest

_ROOT = Path(__file__).parent.parent


def training_code(config: TrainConfig) -> str:
    """Of all code and weights that make a model."""
    parts = _sources(_ROOT / "trainers")
    parts |= {f"model {name}": sha256_file(path) for name, path in own_code(config.model).items()}
    if config.pretrained is not None:
        weights = Path(config.pretrained)
        parts["pretrained"] = tree_digest(weights) if weights.is_dir() else sha256_file(weights)
    return digest(parts)


def serving_code() -> str:
    """Of the server, and of how it reads images."""
    pixels = [sha256_file(_ROOT / "trainers" / name) for name in ("pixels.py", "plain.py")]
    return digest([_sources(_ROOT / "serving"), *pixels])


def _sources(package: Path) -> dict[str, str]:
    """SHA-256 of a package's modules, by path."""
    return {p.relative_to(package).as_posix(): sha256_file(p) for p in package.rglob("*.py")}
