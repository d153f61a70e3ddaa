"""Listing an image folder: `CLASS/*.jpg`, or `train/CLASS/*.jpg` and so on.

The name of the folder directly below the root (or the split) is the label of
every image under it, however deep.  Each real directory is visited once, so
that loops of symbolic links end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

from common.errors import DataError
from components.example_gen.records import (
    SPLIT_NAMES,
    Quarantined,
    Record,
    Source,
    check_label,
    check_labels,
    check_split,
    show,
)
from components.example_gen.tree import Entry, LocalTree, Tree

IMAGE_EXTENSIONS = frozenset(
    b".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .avif .jp2 .j2k .ppm .pgm .pbm "
    b".pnm .tga .ico .heic .heif .psd .svg .mpo .jxl".split()
)
"""Files named so, and files without an extension, are expected to be images;
others are ignored and counted."""
_SYSTEM_NAMES = frozenset({b"thumbs.db", b"desktop.ini", b"__macosx", b"@eadir", b"lost+found"})


@dataclass(slots=True)
class _Listing:
    tree: Tree
    where: str
    follow_symlinks: bool
    records: list[Record] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    visited: set[Hashable] = field(default_factory=set)

    def entries(self, directory: bytes) -> Iterator[Entry]:
        """Yields what counts in a directory."""
        try:
            entries = self.tree.entries(directory)
        except OSError as e:
            self.quarantine(directory, "", "unreadable", e.strerror or str(e))
            return
        for entry in entries:
            if is_hidden(entry.name):
                self.ignored["hidden or system files"] += 1
            elif entry.is_symlink and not self.follow_symlinks:
                self.ignored["symbolic links"] += 1
            else:
                yield entry

    def quarantine(self, path: bytes, label: str, reason: str, detail: str = "") -> None:
        self.quarantined.append(Quarantined(path=path, label=label, reason=reason, detail=detail))

    def file(self, path: bytes, label: str | None, split: str | None) -> None:
        extension = os.path.splitext(path)[1].lower()
        if extension and extension not in IMAGE_EXTENSIONS:
            self.ignored[f"*{show(extension)}"] += 1
        elif label is None:
            self.quarantine(path, "", "outside-class-folders")
        else:
            self.records.append(Record(path=path, label=label, split=split))

    def first_visit(self, directory: bytes) -> bool:
        identity = self.tree.identity(directory)
        if identity in self.visited:
            self.ignored["folders linked more than once"] += 1
            return False
        self.visited.add(identity)
        return True

    def class_folder(self, directory: bytes, label: str, split: str | None) -> None:
        stack = [directory]
        while stack:
            directory = stack.pop()
            if not self.first_visit(directory):
                continue
            for entry in self.entries(directory):
                if not entry.is_directory:
                    self.file(entry.path, label, split)
                elif os.path.splitext(entry.path)[1].lower() in IMAGE_EXTENSIONS:
                    self.quarantine(entry.path, label, "directory")
                else:
                    stack.append(entry.path)

    def class_folders(self, directory: bytes, split: str | None) -> None:
        """Lists a directory of class folders."""
        for entry in self.entries(directory):
            if entry.is_directory:
                label = check_label(entry.name, f"{self.where}/{show(entry.path)}")
                self.class_folder(entry.path, label, split)
            else:
                self.file(entry.path, None, split)


def list_folder(path: str, *, follow_symlinks: bool = True) -> Source:
    """Lists the images of a folder; see `list_tree`."""
    root = os.fsencode(path)
    source = list_tree(LocalTree(root), path, follow_symlinks=follow_symlinks)
    return replace(source, base=root)


def list_tree(tree: Tree, where: str, *, follow_symlinks: bool = True) -> Source:
    """Lists the images of a tree; the source's `base` is left to the caller.

    Args:
      where: what the tree is called in messages.

    Raises:
      DataError: no class folders, fewer than two classes, no images, or
        split folders that cannot be told apart.
    """
    listing = _Listing(tree, where, follow_symlinks)
    listing.first_visit(b"")
    split_folders = _split_folders(_Listing(tree, where, follow_symlinks))
    if split_folders:
        for entry in listing.entries(b""):
            if entry.is_directory:
                listing.class_folders(entry.path, split_folders[entry.path])
            else:
                listing.file(entry.path, None, None)
    else:
        listing.class_folders(b"", None)
    if not listing.records:
        raise DataError(_no_images(listing))
    check_labels((r.label for r in listing.records), where)
    return Source(
        kind="folder",
        base=b"",
        records=tuple(sorted(listing.records, key=lambda r: r.path)),
        quarantined=tuple(listing.quarantined),
        ignored=dict(listing.ignored),
    )


def _split_folders(listing: _Listing) -> dict[bytes, str]:
    """The split of each folder below the root; empty where they are classes.

    A folder called train that holds images and no folders is a class.
    """
    names = {e.path: show(e.path).lower() for e in listing.entries(b"") if e.is_directory}
    if not any(
        n in SPLIT_NAMES and any(e.is_directory for e in listing.entries(d))
        for d, n in names.items()
    ):
        return {}
    splits: dict[bytes, str] = {}
    for directory, name in names.items():
        split = check_split(name, listing.where)
        if split in splits.values():
            raise DataError(
                f"{listing.where}: two folders are the split {split!r} "
                f"({', '.join(sorted(names.values()))}); merge them."
            )
        splits[directory] = split
    if "train" not in splits.values():
        others = ", ".join(sorted(names.values()))
        raise DataError(f"{listing.where}: expected a folder train/ beside {others}.")
    return splits


def _no_images(listing: _Listing) -> str:
    passed = [f"{n} × {kind}" for kind, n in listing.ignored.items()]
    passed += [f"{show(q.path)}: {q.reason}" for q in listing.quarantined[:3]]
    return (
        f"{listing.where}: expected one folder per class with images in it "
        f"(CLASS/*.jpg or train/CLASS/*.jpg), found no images"
        + (f" ({', '.join(passed)})." if passed else ".")
    )


def is_hidden(name: bytes) -> bool:
    return name.startswith(b".") or name.lower() in _SYSTEM_NAMES
