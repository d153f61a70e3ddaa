"""What a Python file imports, found by reading it: a module may import a framework, or fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """Returns a file's syntax; nothing, where it is no Python or cannot be read."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def imported_names(module: str, path: Path, tree: ast.Module) -> Iterator[str]:
    """Yields the modules that a file imports, wherever in it.

    Of `from a import b` it yields both `a` and `a.b`, which may be no module.
    """
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
        elif isinstance(node, ast.Call) and name_of(node.func) == "import_module":
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str))


def name_of(function: ast.expr) -> str:
    """Returns the last part of what is called, such as c of a.b.c()."""
    return str(getattr(function, "id", getattr(function, "attr", "")))
