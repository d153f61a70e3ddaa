"""Which folder is meant, where a command is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError

ServingOption = Annotated[
    Path | None,
    typer.Option("--serving", help="Serving folder; by default the one below visionline-runs/."),
]


def serving_folder(given: Path | None, output: Path | None = None) -> Path:
    if given is not None:
        return given
    if output is not None:
        return output / "serving"
    return _only("visionline-runs/*/serving", "serving folder", "--serving")


def output_folder(given: Path | None) -> Path:
    if given is not None:
        return given
    return _only("visionline-runs/*", "output folder", "--output")


def model_folder(serving: Path, name: str) -> Path:
    """`<serving>/<name>`.

    Raises:
      DataError: nothing was pushed there under the name.
    """
    from common.errors import DataError, nearest
    from modelstore.predictor import model_names

    names = model_names(serving)
    if name not in names:
        raise DataError(f"No pushed model {name!r} in {serving}.{nearest(name, names)}")
    return serving / name


def _only(pattern: str, what: str, flag: str) -> Path:
    found = sorted(p for p in Path.cwd().glob(pattern) if p.is_dir())
    if len(found) != 1:
        listed = ", ".join(str(p.relative_to(Path.cwd())) for p in found) or "none"
        raise ConfigError(f"Which {what}? Found {listed}. Name one with {flag} FOLDER.")
    return found[0]
