"""The user's own functions, "package.module:function", that make models or data."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ConfigError, nearest

_IN_WORKER = re.compile(r"Original Traceback[^\n]*\n(.*)\n(\S[^\n]*)", re.DOTALL)
_PLACE = re.compile(r'^  File "(?![^"]*site-packages)([^"]+)", line (\d+)', re.MULTILINE)


def resolve(name: str, key: str = "model") -> Callable[..., Any]:
    """Imports "package.module:function".

    Args:
      key: of the config, for errors.

    Raises:
      ConfigError: there is no such module or function, or importing it fails.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise ConfigError(f"{key}: importing {module_name} raised {described(e)}") from e
        raise ConfigError(
            f"{key}: no module {e.name!r} (of {name!r}). Run from the folder that has it,"
            " or set PYTHONPATH."
        ) from None
    except Exception as e:
        raise ConfigError(f"{key}: importing {module_name} raised {described(e)}") from e
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value)]
        raise ConfigError(
            f"{key}: {module_name} has no function {function_name!r}."
            f"{nearest(function_name, names)}"
        )
    return function  # type: ignore[no-any-return]


def described(error: Exception) -> str:
    """Someone else's exception as a sentence, with the place in their code."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [f for f in frames if "site-packages" not in f.filename] or frames
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    text = str(error).strip()
    if raised := _IN_WORKER.search(text):  # a DataLoader's process, which tells it as a text
        *_, (file, line) = _PLACE.findall(raised[1]) or [("", "")]
        return f"{raised[2].rstrip('.')} ({Path(file).name}, line {line})."
    first = (text.splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first}{place}."
