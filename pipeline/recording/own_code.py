"""The user's own code that a model is made by: the packages, and what they import of theirs."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.recording.imports import imported_names, parsed

_OURS = frozenset(
    {"common", "modelstore", "trainers", "components", "lineage", "serving", "pipeline"}
)


def own_code(*names: str) -> dict[str, Path]:
    """Returns the source files behind names such as "package.module:function", by module.

    A package of the user's counts as a whole, whichever of its files is asked for.  What is
    imported of installed packages, the standard library and visionline itself is left out:
    that is recorded by versions.  Of a name without a function there are none.
    """
    entries = [name.partition(":")[0] for name in names if ":" in name]
    sources: dict[str, Path] = {}
    waiting = [*entries]
    while waiting:
        module = waiting.pop()
        for name, path in _files(module, installed=module in entries):
            if name not in sources:
                sources[name] = path
                waiting += imported_names(name, path, parsed(path))
                waiting += package_code(module, installed=False)
    return dict(sorted(sources.items()))


def package_code(module: str, *, installed: bool) -> dict[str, Path]:
    """Returns every source file of the package that a module is in, by module.

    Args:
      installed: also where it is an installed package.
    """
    top = module.partition(".")[0]
    sources: dict[str, Path] = {}
    for place in _places(top, installed=installed):
        for folder, folders, files in os.walk(place / top):
            where = Path(folder)
            # No virtual environment that lies in it, nor what can be no package.
            folders[:] = [
                f for f in folders if f.isidentifier() and not (where / f / "pyvenv.cfg").exists()
            ]
            for path in (where / f for f in files if f.endswith(".py")):
                parts = path.relative_to(place).with_suffix("").parts
                name = ".".join(parts[:-1] if path.name == "__init__.py" else parts)
                sources.setdefault(name, path)
    return sources


def _files(module: str, *, installed: bool) -> Iterator[tuple[str, Path]]:
    """Yields a module and the packages above it, as far as they are files of the user's.

    Args:
      installed: also where it is an installed package.
    """
    top, *rest = module.split(".")
    places = _places(top, installed=installed)
    for depth, part in enumerate([top, *rest]):
        name = ".".join([top, *rest][: depth + 1])
        candidates = (c for p in places for c in (p / part / "__init__.py", p / f"{part}.py"))
        if (file := next((c for c in candidates if c.is_file()), None)) is not None:
            yield name, file
        places = [p / part for p in places if (p / part).is_dir()]


def _places(top: str, *, installed: bool) -> Sequence[Path]:
    """Returns the folders that have the user's module or package of this name."""
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
    if installed:
        return [p.parent for p in where]
    others = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    return [p.parent for p in where if not any(p.parent.is_relative_to(o) for o in others)]
