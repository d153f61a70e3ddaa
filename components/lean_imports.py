"""Keeps out of the pipeline's process what TFX imports and visionline never uses there.

`import tfx` takes half a minute on two cores.  A third of it is torch (for
Beam's RunInference) and scikit-learn and jax (for Keras' optional parts);
those who ask for them do so inside try/except.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_UNUSED = {"torch", "jax", "sklearn"}


def install() -> None:
    """Call before the first import of tfx; not in a process that trains."""
    sys.meta_path.insert(0, _Absent())


class _Absent(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in _UNUSED:
            raise ModuleNotFoundError(f"{fullname} is kept out of this process", name=fullname)
        return None
