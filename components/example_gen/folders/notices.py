"""What a person should know of how an image folder is read: one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from components.example_gen.folders.layout import Layout, bottom
from components.example_gen.folders.names import (
    image_by_name,
    is_series,
    may_hold_labels,
    split_named,
)
from components.example_gen.folders.scan import HIDDEN, LINKED, Folder
from components.example_gen.folders.tree import Tree
from components.example_gen.records import show

_NAMED = 5
"""Of what a notice is about, so many are named."""


def folder_notices(
    tree: Tree, root: Folder, layout: Layout, outside: Sequence[Folder], *, told: bool
) -> Iterator[str]:
    """Yields notices of what is passed over, and of what might have been meant otherwise.

    Args:
      outside: the folders that are in no class folder; of those without images the topmost.
      told: whether the config says what is a class.
    """
    yield from _wrapped(root, layout)
    yield from _vanished(layout, outside)
    yield from _dotted(tree, layout)
    yield from _loose(outside)
    yield from _labels(outside)
    if not told:
        yield from _nested(layout)


def _wrapped(root: Folder, layout: Layout) -> Iterator[str]:
    (level, *others) = layout.levels
    if level is not root and not others and all(c.split is None for c in layout.classes):
        yield f"{show(level.path)}/ holds all images, so the folders in it are the classes."


def _vanished(layout: Layout, outside: Sequence[Folder]) -> Iterator[str]:
    """Tells of folders that would be classes or splits, if they held an image."""
    would_be = {f for level in layout.levels for f in level.folders}
    would_be |= {f for f in outside if split_named(f.label)}
    if gone := [f for f in would_be if not f.images and not f.aside]:
        named = (f"{show(f.path)} ({what_is_in(f)})" for f in gone)
        yield f"Without an image, so left out: {_some(sorted(named))}."


def what_is_in(folder: Folder) -> str:
    """Says what a folder without images holds."""
    kinds: Counter[str] = Counter()
    for inner in folder.walk():
        if inner.error:
            return inner.error
        kinds += inner.others
    if LINKED in kinds:
        return "a link to a folder that is listed by its own name"
    kinds.pop(HIDDEN, None)
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common(3)) or "empty"


def _dotted(tree: Tree, layout: Layout) -> Iterator[str]:
    """Tells of hidden folders that hold images as class folders do."""
    for path in (path for level in layout.levels for path in level.dotted):
        try:
            entries = tree.entries(path)
        except OSError:
            continue
        if count := sum(image_by_name(e.name) == "yes" for e in entries if not e.is_directory):
            yield (
                f"{show(path)} begins with a dot, so it is left out as hidden, with "
                f"{_counted(count, 'image')}; rename it if it is a class."
            )


def _loose(outside: Sequence[Folder]) -> Iterator[str]:
    loose = [show(path) for folder in outside for path in folder.files]
    if loose:
        count = _counted(len(loose), "image")
        yield f"{count} outside the class folders, left out: {_some(loose)}."


def _labels(outside: Sequence[Folder]) -> Iterator[str]:
    """Tells of what may name the labels; whatever else a folder holds says less of itself."""
    beside = [show(path) for folder in outside for path in folder.tables]
    beside += [
        f"{show(f.path)}/"
        for f in outside
        if not f.images and may_hold_labels(f.name) and not split_named(f.label)
    ]
    if beside:
        yield (
            f"Not read, since the class folders say what images show: {_some(beside)}. "
            "Labels are taken from a manifest that is given as data.path."
        )


def _nested(layout: Layout) -> Iterator[str]:
    """Tells of folders in class folders that may have been meant as classes."""
    holding = []
    for class_ in layout.classes:
        folder = class_.folder
        inner = [f for f in bottom(folder).filled if not is_series(f.label)]
        if folder.is_wrapper and len(inner) > 1:
            holding.append(f"{show(folder.path)} ({_some([f.label for f in inner], 3)})")
    if holding:
        yield f"Folders in class folders are of that class, and no classes: {_some(holding, 3)}."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _some(names: Sequence[str], most: int = _NAMED) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
