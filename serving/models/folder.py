"""Whether a folder is one that models are pushed to, looked at before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ConfigError
from modelstore.artifact import MANIFEST, MODEL_CARD
from modelstore.labels import FILE as LABELS
from modelstore.versions import HIGHEST, list_versions

_OF_A_VERSION = (MODEL_CARD, MANIFEST, "saved_model.pb")
_OF_A_MODEL = (LABELS, HIGHEST)
_SHOWN = 5


def check_folder(folder: Path) -> str:
    """Refuses what can never be served, and says which folder is probably meant.

    Returns:
      What there is to wait for, where there is nothing to serve yet; or "".

    Raises:
      ConfigError: it is no folder, cannot be read, or is one above or below.
    """
    try:
        if not folder.exists():
            raise ConfigError(f"No serving folder at {folder}.")
        if not folder.is_dir():
            raise ConfigError(f"Expected a serving folder, got a file: {folder}.")
        names = sorted(d.name for d in folder.iterdir() if not d.name.startswith("."))
        for name in names:
            (folder / name).lstat()  # listing needs less than reading
        models = [n for n in names if _is_model(folder / n)]
        _refuse_others(folder.resolve(), models)
    except OSError as e:
        raise ConfigError(
            f"The serving folder {folder} cannot be read: {e.strerror} ({e.filename}). The user "
            "that serves has to be able to read it and all below it."
        ) from None
    if models:
        return ""
    listed = ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN) if names else "it is empty"
    return (
        f"No model in {folder} yet: {listed}. Waiting for the first one to be pushed to "
        f"{folder}/NAME/VERSION/."
    )


def _refuse_others(folder: Path, models: list[str]) -> None:
    if _is_version(folder):
        raise ConfigError(
            f"{folder} is one version of a model. Give the folder that models are pushed to, two "
            f"above: {folder.parent.parent}"
        )
    versions = list_versions(folder)
    marked = any((folder / name).exists() for name in _OF_A_MODEL)
    if versions and (marked or any(_is_version(folder / str(v)) for v in versions)):
        listed = ", ".join(map(str, versions[:_SHOWN]))
        raise ConfigError(
            f"{folder} is the folder of one model, with the versions {listed}. Give the folder "
            f"that models are pushed to, one above: {folder.parent}"
        )
    if any(_holds_files(folder / name) for name in models):
        return
    below = [
        inner
        for inner in (folder / "serving", *sorted(folder.glob("*/serving")))
        if inner.is_dir() and any(_is_model(d) and _holds_files(d) for d in inner.iterdir())
    ]
    if below:
        raise ConfigError(
            f"{folder} holds no model itself, and below it is a folder that models are pushed to. "
            f"Give that: {' or '.join(map(str, below[:_SHOWN]))}"
        )


def _holds_files(model: Path) -> bool:
    """Returns whether a version is one, and not an image folder's class that is called 7."""
    return any(_is_version(model / str(v)) for v in list_versions(model))


def _is_model(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK) and bool(list_versions(folder))


def _is_version(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OF_A_VERSION)
