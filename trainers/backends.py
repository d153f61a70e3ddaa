"""The frameworks, by name: the one place that knows which there are.

A third framework is one more folder beside `keras_backend/` and
`torch_backend/`, and one more line here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from trainers.contract import Backend

FRAMEWORKS = {"keras": "trainers.keras_backend", "pytorch": "trainers.torch_backend"}


def load_backend(framework: str) -> Backend:
    """Imports the backend of a framework (seconds: it imports the framework)."""
    return cast("Backend", importlib.import_module(FRAMEWORKS[framework] + ".backend"))


def model_names(framework: str) -> list[str]:
    """The models a framework offers by name, without importing the framework."""
    names = importlib.import_module(FRAMEWORKS[framework] + ".names")
    return cast("list[str]", names.model_names())
