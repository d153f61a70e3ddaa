"""Listing an image folder: `CLASS/*.jpg`, or `train/CLASS/*.jpg` and so on.

The name of a class folder is the label of every image under it, however deep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from common.errors import DataError
from components.example_gen.config import DataConfig
from components.example_gen.folders.ignore import Ignore
from components.example_gen.folders.layout import Layout, Reader
from components.example_gen.folders.names import IMAGE_EXTENSIONS, extension
from components.example_gen.folders.notices import folder_notices
from components.example_gen.folders.scan import Folder, Scan
from components.example_gen.folders.tree import LocalTree, Tree
from components.example_gen.records import (
    OUTSIDE,
    Quarantined,
    Record,
    Records,
    Source,
    check_label,
    check_labels,
    printable,
    show,
)


def list_folder(path: str, config: DataConfig) -> Source:
    """Lists the images of a folder; see `list_tree`."""
    root = os.fsencode(path)
    return replace(list_tree(LocalTree(root), path, config), base=root)


def list_tree(tree: Tree, where: str, config: DataConfig) -> Source:
    """Lists the images of a tree; the source's `base` is left to the caller.

    Args:
      where: what the tree is called in messages.

    Raises:
      DataError: no class folders, fewer than two classes, no images, or
        two ways to read the folders.
    """
    scan = Scan(tree, config.follow_symlinks, Ignore(config.ignore))
    root = scan.run()
    above = [f for f in root.walk() if f is root or f.filled]
    reader = Reader(where, [show(path) for folder in above for path in folder.tables])
    read = {"auto": reader.read, "classes": reader.as_classes, "splits": reader.as_splits}
    layout = read[config.layout](root)
    outside = list(_outside(root, layout))
    told = config.layout != "auto"
    notices = [*folder_notices(tree, root, layout, outside, told=told), *scan.ignore.notices]
    records = Records(_records(layout, where))
    quarantined = tuple(_quarantined(layout, outside))
    if empty := sum(not f.images and not f.aside for f in outside[1:]):
        scan.ignored["folders without images"] = empty
    if not records:
        raise DataError(printable(_no_images(reader, root, scan)))
    try:
        check_labels((r.label for r in records), where)
    except DataError as e:
        raise DataError(printable(" ".join([str(e), *notices]))) from None
    return Source(
        kind="folder",
        base=b"",
        records=records,
        quarantined=quarantined,
        ignored=dict(scan.ignored),
        notices=tuple(map(printable, notices)),
    )


def _outside(root: Folder, layout: Layout) -> Iterator[Folder]:
    """Yields the folders that are in no class folder; of those without images the topmost."""
    classes = {c.folder for c in layout.classes}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        if folder.images:
            waiting += (f for f in folder.folders if f not in classes)


def _records(layout: Layout, where: str) -> Iterator[Record]:
    """Yields the images by path, one class folder's after another's: none lies in another."""
    for class_ in sorted(layout.classes, key=lambda c: c.folder.path + b"/"):
        label = check_label(class_.name, f"{where}/{show(class_.folder.path)}")
        for path in sorted(path for folder in class_.folder.walk() for path in folder.files):
            yield Record(path=path, label=label, split=class_.split)


def _quarantined(layout: Layout, outside: list[Folder]) -> Iterator[Quarantined]:
    for folder in outside:
        yield from (Quarantined(path=p, label="", reason=OUTSIDE) for p in folder.files)
        if folder.error:
            yield _unreadable(folder, "")
    for class_ in layout.classes:
        label = show(class_.name)
        for folder in class_.folder.walk():
            if folder.error:
                yield _unreadable(folder, label)
            elif not folder.images and extension(folder.name) in IMAGE_EXTENSIONS:
                yield Quarantined(path=folder.path, label=label, reason="directory")


def _unreadable(folder: Folder, label: str) -> Quarantined:
    return Quarantined(path=folder.path, label=label, reason="unreadable", detail=folder.error)


def _no_images(reader: Reader, root: Folder, scan: Scan) -> str:
    if root.files:
        count = len(root.files)
        first = ", ".join(map(show, root.files[:3])) + ", …" * (count > 3)
        return (
            f"{reader.where}: expected one folder per class with images in it, found {count} "
            f"image{'s' * (count > 1)} in no folder ({first}): {reader.without_labels()}."
        )
    passed = ", ".join(f"{n} × {kind}" for kind, n in scan.ignored.items())
    return (
        f"{reader.where}: expected one folder per class with images in it (CLASS/*.jpg or "
        f"train/CLASS/*.jpg), found no images{f' ({passed})' if passed else ''}."
    )
