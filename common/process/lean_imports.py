"""Keeps out of a process what others import there and visionline never uses.

`import tfx` takes half a minute on two cores, `import tensorflow` ten seconds.  Half
of it is torch, jax, scikit-learn, Keras and the like, which those who ask for them do
without where they are not installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

PIPELINE = frozenset({"torch", "jax", "sklearn"})
"""What the orchestrating process does without: Beam's RunInference and Keras ask for them."""

SERVER = PIPELINE | {
    *("keras", "tf_keras", "pandas", "matplotlib", "scipy", "h5py", "pyarrow"),
    *("tfx", "apache_beam", "ml_metadata", "googleapiclient", "dill", "IPython"),
}
"""What a serving process does without: TensorFlow asks for most of them."""


def install(unused: frozenset[str]) -> Absent:
    """Call before the first import of tfx or tensorflow; not in a process that trains."""
    absent = Absent(unused)
    sys.meta_path.insert(0, absent)
    return absent


@contextmanager
def without(unused: frozenset[str]) -> Iterator[None]:
    """Imports what asks for other modules if they are there, and does without them at first."""
    absent = install(unused)
    try:
        yield
    finally:
        absent.allow()


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Says of modules that they are not there, until they are allowed."""

    def __init__(self, unused: frozenset[str]) -> None:
        self._unused = unused

    def allow(self) -> None:
        """Lets them be imported from now on."""
        sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        # A spec, since some only look for one (TensorFlow for Keras); importing it fails.
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in self._unused else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        raise ModuleNotFoundError(f"{spec.name} is kept out of this process", name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Not reached; a loader has one."""
