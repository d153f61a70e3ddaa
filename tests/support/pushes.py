"""Models pushed to a serving folder, as the Pusher does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelstore.artifact import PushManifest


def manifest(version: int) -> PushManifest:
    words: dict[str, Any] = dict.fromkeys(
        ("pushed_at", "framework", "architecture", "model_uri", "run_id"), "x"
    )
    return PushManifest(name="m", version=version, mlmd={}, **words)


def model(folder: Path, files: int = 2, size: int = 10) -> Path:
    for i in range(files):
        path = folder / ("variables" if i % 2 else ".") / f"part-{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([i]) * size)
    return folder


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
