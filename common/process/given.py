"""The environment that a process was given, without what libraries add as they are imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

_given = dict(os.environ)


def given() -> Mapping[str, str]:
    """Returns the variables as they were when this module was imported, or `take` was called."""
    return _given


def take(environment: Mapping[str, str]) -> None:
    """Gives this process another environment; what libraries have added stays."""
    global _given
    added = {k: v for k, v in os.environ.items() if _given.get(k) != v}
    os.environ.clear()
    os.environ.update({**environment, **added})
    _given = dict(environment)
