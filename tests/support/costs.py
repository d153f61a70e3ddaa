"""Which files of tests are cheap, which start pipelines, and how two processes share them.

A file says so itself, with `pytestmark = pytest.mark.quick` or `pytest.mark.pipelines`. That is
read from its text, so that `make quick` need not import what it leaves out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

HEAVY = ("apache_beam", "jax", "keras", "onnxruntime", "tensorflow", "tfx", "torch")
"""What a quick test may not import."""


COSTLY = {"demo", "heavy", "mariadb", "postgresql", "server"}
"""Fixtures that a quick test may not ask for, wherever it lies."""


@cache
def is_marked(file: Path, marker: str) -> bool:
    """Says whether a file of tests bears a marker, on all or some of its tests."""
    return f"pytest.mark.{marker}" in file.read_text("utf-8")


class Refusing(MetaPathFinder, Loader):
    """Finds what costs seconds to import, which may be looked for, and refuses to load it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        heavy = fullname.partition(".")[0] in HEAVY
        return ModuleSpec(fullname, self) if heavy else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise AssertionError(
            f"a quick test imports {spec.name}: take its file's marker away, or have the test "
            "ask for the fixture `heavy`"
        )

    def exec_module(self, module: ModuleType) -> None:
        raise AssertionError("create_module has raised")


def keep_quick() -> None:
    """Makes every later import of something heavy in this process an error."""
    sys.meta_path.insert(0, Refusing())


def without_costly(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of quick files that ask for something costly."""
    costly = [i for i in items if COSTLY & set(getattr(i, "fixturenames", ()))]
    config.hook.pytest_deselected(items=costly)
    items[:] = [item for item in items if item not in costly]


def in_order(items: list[pytest.Item]) -> None:
    """Sorts tests by file: pipelines, then what does without the demo, then what waits for it.

    So one process makes the demo and runs the other pipelines, one at a time, while the other
    has the rest.
    """
    users = {item.path for item in items if "demo" in getattr(item, "fixturenames", ())}

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        if is_marked(item.path, "pipelines"):
            return False, item.path not in users
        return True, item.path in users

    items.sort(key=turn)


def scheduler(config: pytest.Config, log: object) -> object:
    """Returns a scheduler that gives a file to one process, and all pipelines to the same."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "pipelines" if is_marked(config.rootpath / file, "pipelines") else file

    config.option.loadscopereorder = False
    return ByFile(config, log)
