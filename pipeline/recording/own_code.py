"""The user's own code that a model is made by: its module, and what that imports of theirs.

Found by reading, not by importing: a module may import a framework, or fail.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

_OURS = frozenset(
    {"common", "modelstore", "trainers", "components", "lineage", "serving", "pipeline"}
)


def own_code(model: str) -> dict[str, Path]:
    """The source files behind "package.module:function", by module; none for a model by name.

    What it imports of installed packages, the standard library and visionline itself is left
    out: that is recorded by versions.
    """
    entry = model.partition(":")[0]
    found: dict[str, Path] = {}
    waiting = [entry] if ":" in model else []
    while waiting:
        module = waiting.pop()
        for name, path in _files(module, installed=module == entry):
            if name not in found:
                found[name] = path
                waiting += _imports(name, path)
    return dict(sorted(found.items()))


def _files(module: str, *, installed: bool) -> Iterator[tuple[str, Path]]:
    """A module and the packages above it, as far as they are files of the user's.

    Args:
      installed: also where it is an installed package.
    """
    top, *rest = module.split(".")
    places = [p for p in _places(top) if installed or not _is_installed(p)]
    for depth, part in enumerate([top, *rest]):
        name = ".".join([top, *rest][: depth + 1])
        package, file = [], None
        for place in places:
            for candidate in (place / part / "__init__.py", place / f"{part}.py"):
                if file is None and candidate.is_file():
                    file = candidate
            if (place / part).is_dir():
                package.append(place / part)
        if file is not None:
            yield name, file
        places = package


def _places(top: str) -> Sequence[Path]:
    """The folders that have the user's module or package of this name."""
    if top in _OURS or top in sys.stdlib_module_names:
        return ()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    folders = spec.submodule_search_locations
    where = [Path(f) for f in folders] if folders is not None else [Path(spec.origin or "/")]
    return [p.parent for p in where]


def _is_installed(path: Path) -> bool:
    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    return any(path.is_relative_to(folder) for folder in installed)


def _imports(module: str, path: Path) -> Iterator[str]:
    """The names that a source file imports, wherever in it; nothing of a broken file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
