"""Keeps out of a process what others import there and visionline never uses.

`import tfx` takes half a minute on two cores, `import tensorflow` ten seconds.  Half
of it is torch, jax, scikit-learn, Keras and the like, which those who ask for them do
without where they are not installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

PIPELINE = frozenset({"torch", "jax", "sklearn"})
"""What the orchestrating process does without: Beam's RunInference and Keras ask for them."""

SERVER = PIPELINE | {
    *("keras", "tf_keras", "pandas", "matplotlib", "scipy", "h5py", "pyarrow"),
    *("tfx", "apache_beam", "ml_metadata", "googleapiclient", "dill", "IPython"),
}
"""What a serving process does without: TensorFlow asks for most of them."""


def install(unused: frozenset[str]) -> None:
    """Call before the first import of tfx or tensorflow; not in a process that trains."""
    sys.meta_path.insert(0, _Absent(unused))


class _Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, unused: frozenset[str]) -> None:
        self._unused = unused

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        # A spec, since some only look for one (TensorFlow for Keras); importing it fails.
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in self._unused else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        raise ModuleNotFoundError(f"{spec.name} is kept out of this process", name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Not reached; a loader has one."""


TFX_ALONE = PIPELINE | {
    *("tensorflow", "apache_beam", "keras", "tf_keras"),
    *("pandas", "pyarrow", "matplotlib", "scipy", "IPython"),
}
"""What a process does without whose executor moves files: TFX itself asks for them, and takes
its own file system where there is no TensorFlow."""
_STAND_INS = (
    "tensorflow_model_analysis",
    "tensorflow_model_analysis.sdk",
    "tensorflow_data_validation",
    "tensorflow_transform",
)
"""Whose classes TFX names among the parameters of its standard components."""


def install_tfx_alone() -> None:
    """Instead of `install`, where the executor moves files: half a second and not ten.

    `tfx.components` is left without what its `__init__` brings, every component of TFX's.
    """
    install(TFX_ALONE)
    for name in _STAND_INS:
        sys.modules[name] = _StandIn(name)
    spec = importlib.util.find_spec("tfx.components")
    assert spec is not None and spec.submodule_search_locations is not None
    bare = ModuleType(spec.name)
    bare.__spec__, bare.__path__ = spec, list(spec.submodule_search_locations)
    sys.modules[spec.name] = bare


class _Nothing(type):
    def __getattr__(cls, name: str) -> type:
        return _placeholder(name)


class _StandIn(ModuleType):
    """A module whose every attribute is a class without meaning."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        return _placeholder(name)


def _placeholder(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing(name, (), {})
