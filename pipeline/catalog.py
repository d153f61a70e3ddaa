"""Lists for people: the models there are, the versions that were pushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DataError, RunError, nearest
from common.files import digest, read_json, write_json
from common.formats import NOT_RECORDED
from modelstore.artifact import PushManifest
from modelstore.permissions import open_to_all
from modelstore.retention import prune
from modelstore.serving_folder import model_folder
from modelstore.serving_folder import model_names as served_names
from modelstore.versions import damage, list_versions
from trainers.frameworks import Framework, frameworks


def list_models(pattern: str, framework: str | None) -> list[dict[str, Any]]:
    """Returns the models whose names contain `pattern`, by framework.

    Returns:
      {"framework", "model", "parameters"} each; parameters (trainable weights
      with 10 classes) for those of `trainers.frameworks.Framework.counted`, else None.
    """
    every = frameworks()
    if framework is None:
        chosen = [each for each in every.values() if each.is_installed()]
    elif framework in every:
        chosen = [every[framework]]
        every[framework].require_installed()
    else:
        raise ConfigError(f"Unknown framework {framework!r}.{nearest(framework, every)}")
    models: list[dict[str, Any]] = []
    for each in chosen:
        names = [name for name in each.model_names() if pattern.lower() in name.lower()]
        counts = _parameter_counts(each) if names else {}
        models += [{"framework": each.name, "model": n, "parameters": counts.get(n)} for n in names]
    return models


def list_pushed(serving: Path, name: str | None) -> list[dict[str, Any]]:
    """Lists pushed versions: the manifest, what is damaged of each and who may write to it."""
    return [
        _pushed(folder / str(version), folder.name, version)
        for folder in _folders(serving, name)
        for version in list_versions(folder)
    ]


def prune_pushed(serving: Path, name: str | None, keep: int) -> list[str]:
    """Removes old versions; returns what was removed, and what was not and why.

    Raises:
      DataError: there is no such model, or its labels cannot be read.
      RunError: something cannot be removed.
    """
    lines = []
    for folder in _folders(serving, name):
        try:
            pruned = prune(folder, keep)
        except OSError as e:
            raise RunError(f"Cannot remove versions of {folder.name}: {e}.") from None
        lines += [f"Removed {folder.name} version {version}." for version in pruned.removed]
        lines += [f"Kept {folder.name} version {v}: {why}." for v, why in pruned.spared.items()]
    return lines


def _folders(serving: Path, name: str | None) -> list[Path]:
    if name is not None:
        return [model_folder(serving, name)]
    return [serving / each for each in served_names(serving)]


def _pushed(directory: Path, name: str, version: int) -> dict[str, Any]:
    try:
        manifest = PushManifest.read(directory)
    except DataError:
        manifest = None
    facts = ("framework", "architecture", "pushed_at", "run_id")
    return {
        "name": name,
        "version": version,
        "where": str(directory),
        **{key: getattr(manifest, key) if manifest else NOT_RECORDED for key in facts},
        "damage": damage(directory),
        "writable": open_to_all(directory),
    }


def _parameter_counts(framework: Framework) -> dict[str, int]:
    """Counts once per set of model names, in a process of its own, and keeps the counts."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "visionline"
    path = cache / f"parameters-{framework.name}-{digest(framework.model_names())[:16]}.json"
    if path.exists():
        counts: dict[str, int] = read_json(path)
        return counts
    python_path = os.pathsep.join(p for p in (str(Path(__file__).parent.parent), *sys.path) if p)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trainers.sizes", framework.name],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        name, reason = framework.name, done.stderr[-2000:]
        raise ConfigError(f"The {name} models could not be counted:\n{reason}")
    counts = json.loads(done.stdout)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_json(path, counts)
    except OSError:
        pass  # counted again the next time
    return counts
