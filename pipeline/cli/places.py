"""Which folder is meant, where a command is not told."""

from __future__ import annotations

from pathlib import Path

from common.errors import ConfigError


def serving_folder(named: Path | None, output: Path | None = None) -> Path:
    if named is not None:
        return named
    if output is not None:
        return output / "serving"
    return _only("visionline-runs/*/serving", "serving folder", "--serving")


def output_folder(named: Path | None) -> Path:
    if named is not None:
        return named
    return _only("visionline-runs/*", "output folder", "--output")


def _only(pattern: str, what: str, flag: str) -> Path:
    folders = sorted(p for p in Path.cwd().glob(pattern) if p.is_dir())
    if len(folders) != 1:
        listed = ", ".join(str(p.relative_to(Path.cwd())) for p in folders) or "none"
        raise ConfigError(f"Which {what}? Found {listed}. Name one with {flag} FOLDER.")
    return folders[0]
