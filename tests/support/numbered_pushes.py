"""Versions 1, 2, 3 … of a model called m."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pushes import model

from modelstore.artifact import PushManifest
from modelstore.versions import list_versions, publish


def push(root: Path, uri: str = "", **mlmd: int) -> int:
    folder = root / "serving" / "m"
    number = len(list_versions(folder)) + 1
    source = model(root / "sources" / str(number), number)
    (source / "own").write_text(uri or str(number))
    words: dict[str, Any] = dict.fromkeys(("pushed_at", "framework", "architecture", "run_id"), "x")

    def manifest(version: int) -> PushManifest:
        own = uri or f"/models/{version}"
        return PushManifest(name="m", version=version, model_uri=own, mlmd=mlmd, **words)

    return publish(source, folder, manifest).version
