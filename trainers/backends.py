"""Imports the backend of a framework."""

from __future__ import annotations

import importlib
from typing import cast

from trainers.contract import Backend
from trainers.frameworks import get_framework


def load_backend(name: str) -> Backend:
    """Imports the backend of a framework (seconds: it imports the framework)."""
    return cast("Backend", importlib.import_module(get_framework(name).package + ".backend"))
