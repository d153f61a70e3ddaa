"""The classes of a transform graph, in the order of a model's scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

VOCABULARY = "label_vocabulary"
"""The asset's name."""


def write_vocabulary(path: Path, classes: Iterable[str]) -> None:
    """Writes class names one a line, sorted: an index is that of the same class in every run."""
    path.write_bytes("".join(f"{name}\n" for name in sorted(classes)).encode())


def class_names(transform_graph: Path) -> tuple[str, ...]:
    """Reads the label vocabulary of a TransformGraph, in the order of the scores."""
    path = transform_graph / "transform_fn" / "assets" / VOCABULARY
    # At line feeds alone: a name may hold what else ends a line for Python.
    return tuple(path.read_bytes().decode().removesuffix("\n").split("\n"))
