"""The frameworks that train: each is a package whose `FRAMEWORK` says what there is to know.

Those of visionline are the folders `*_backend` beside this file.  Another is an installed
package with an entry point of the group "visionline.backends" that names its `FRAMEWORK`,
such as `numpy = "numpy_backend:FRAMEWORK"`.
"""

from __future__ import annotations

import functools
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points

import trainers
from common.errors import ConfigError, nearest
from common.extras import require_installed
from common.process.cpus import available_cpus

GROUP = "visionline.backends"
OPTIONAL = frozenset(
    {
        *("optimizer", "nesterov", "beta_1", "beta_2", "epsilon", "accumulate_steps"),
        *("layer_decay", "clip_norm", "ema_decay", "loss", "distillation"),
    }
)
"""Keys of `trainers.config.TrainConfig` that are refused where a framework does not honour them."""
APPLIES = frozenset({"warp", "reflection", "colours", "sharpness", "erasing", "mixing", "mirror"})
"""Of `contract.Augmentation` ("mirror": test-time augmentation), what a backend may apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """What is known of a framework before it is imported."""

    name: str
    package: str
    """Of the backend; its module `backend` is a `trainers.contract.Backend`."""
    distribution: str
    """What pip installs it with."""
    needs: tuple[str, ...]
    """The modules that training, export and all need of it."""
    later: tuple[str, ...] = ()
    """Modules that it imports when it first needs them, for seconds: a process that waits for
    its training imports them meanwhile."""
    unused: frozenset[str] = frozenset()
    """Modules that others import if they are there, and that neither training nor export need."""
    model_names: Callable[[], list[str]]
    """Lists the models that it offers by name, without importing the framework."""
    counted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Models whose parameters `visionline models` shows, and the image size (height,
    width) that they are counted at."""
    thread_variables: tuple[str, ...] = (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    )
    """Set to `train.threads` where a training starts: pools fight where each takes all cores."""
    # Threads that wait must not spin: on cores that others use too, PyTorch trained at a
    # tenth of its speed.
    environment: Mapping[str, str] = field(default_factory=lambda: {"OMP_WAIT_POLICY": "PASSIVE"})
    """Further variables of a training's process."""
    honours: frozenset[str] = frozenset()
    """The keys in `OPTIONAL` that it has."""
    applies: frozenset[str] = frozenset({"warp", "colours"})
    """Those of `APPLIES` that its learner applies; configs that need others are refused."""

    def variables(self, threads: int) -> dict[str, str]:
        """Returns the environment of a training; to be set before anything reads it.

        Args:
          threads: 0 for all that the process may use.
        """
        count = str(threads or available_cpus())
        return {**dict.fromkeys(self.thread_variables, count), **self.environment}

    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.needs)

    def require_installed(self) -> None:
        """Raises ConfigError with what to run, where something that it needs is missing."""
        require_installed(f"The framework {self.name}", self.distribution, self.needs)


def get_framework(name: str) -> Framework:
    """Returns a framework by name.

    Raises:
      ConfigError: there is none of that name.
    """
    try:
        return _own().get(name) or frameworks()[name]
    except KeyError:
        raise ConfigError(
            f"framework: unknown framework {name!r}.{nearest(name, frameworks())}"
        ) from None


@functools.cache
def frameworks() -> Mapping[str, Framework]:
    """Returns all frameworks by name, installed or not; visionline's own come first."""
    others: dict[str, Framework] = {}
    for point in entry_points(group=GROUP):
        try:
            others[point.name] = point.load()
        except Exception as e:
            raise ConfigError(
                f"The framework {point.name!r} of {point.value} cannot be used: "
                f"{type(e).__name__}: {e}. Mend that package, or uninstall it."
            ) from e
    return {**_own(), **{n: f for n, f in others.items() if n not in _own()}}


@functools.cache
def _own() -> Mapping[str, Framework]:
    """Looked for apart, as to look through all that is installed takes a tenth of a second."""
    packages = [m.name for m in pkgutil.iter_modules(trainers.__path__, "trainers.") if m.ispkg]
    modules = [importlib.import_module(p) for p in packages if p.endswith("_backend")]
    return {module.FRAMEWORK.name: module.FRAMEWORK for module in modules}
