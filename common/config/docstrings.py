"""Reads what a config's fields mean: the strings below them, which Python itself drops."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from functools import cache
from pathlib import Path


@cache
def docstrings(cls: type) -> dict[str, str]:
    """Returns the strings below the fields of a dataclass and its bases, as lines, by field."""
    bases = (base for base in cls.__bases__ if dataclasses.is_dataclass(base))
    meanings = {k: v for base in bases for k, v in docstrings(base).items()}
    (node,) = (n for n in _module(cls.__module__).body if getattr(n, "name", "") == cls.__name__)
    assert isinstance(node, ast.ClassDef)
    for field, after in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            meanings[field.target.id] = " ".join(str(after.value.value).split())
    return meanings


@cache
def _module(name: str) -> ast.Module:
    return ast.parse(Path(sys.modules[name].__file__ or "").read_text(encoding="utf-8"))


def in_words(meaning: str) -> str:
    """Words a docstring for people who write TOML or flags, and no Python."""
    return re.sub(r"\bNone:", "not set:", meaning)
