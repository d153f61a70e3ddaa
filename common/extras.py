"""What is installed only where it was asked for: frameworks, Kubeflow, server databases."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from common.errors import ConfigError


def require_installed(what: str, distribution: str, modules: Iterable[str]) -> None:
    """Looks for modules without importing them.

    Args:
      what: needs them, such as "Kubeflow".
      distribution: what pip installs them with, such as "visionline[kubeflow]".

    Raises:
      ConfigError: one is missing.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            f'not installed. Run: pip install "{distribution}"'
        )


def require_kubeflow() -> None:
    require_installed("Kubeflow Pipelines", "visionline[kubeflow]", ["kfp"])
