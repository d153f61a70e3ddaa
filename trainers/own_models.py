"""The user's own models: "package.module:function", for any framework."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ConfigError, nearest


def resolve(name: str) -> Callable[..., Any]:
    """Imports "package.module:function".

    Raises:
      ConfigError: there is no such module or function, or importing it fails.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise ConfigError(f"model: importing {module_name} raised {described(e)}") from e
        raise ConfigError(
            f"model: no module {e.name!r} (of {name!r}). Run from the folder that has it,"
            " or set PYTHONPATH."
        ) from None
    except Exception as e:
        raise ConfigError(f"model: importing {module_name} raised {described(e)}") from e
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [n for n, value in vars(module).items() if callable(value)]
        raise ConfigError(
            f"model: {module_name} has no function {function_name!r}."
            f"{nearest(function_name, names)}"
        )
    return function  # type: ignore[no-any-return]


def described(error: Exception) -> str:
    """Someone else's exception as a sentence, with the place in their code."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [f for f in frames if "site-packages" not in f.filename] or frames
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first}{place}."
