"""Code in an environment that lacks packages."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {names}
        return None if absent else PathFinder.find_spec(name, path, target)

    def __getattr__(self, attribute):  # what looks for distributions
        return getattr(PathFinder, attribute)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder()
"""


def run_without(names: set[str], code: str, *arguments: object) -> None:
    """Runs code in a process where `names` might as well not be installed."""
    subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=names) + code, *map(str, arguments)],
        check=True,
        timeout=300,
    )
