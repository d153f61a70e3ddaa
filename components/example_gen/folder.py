"""Listing an image folder: `CLASS/*.jpg`, or `train/CLASS/*.jpg` and so on.

The name of the folder directly below the root (or the split) is the label of
every image under it, however deep.  Each real directory is visited once, so
that loops of symbolic links end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

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

IMAGE_EXTENSIONS = frozenset(
    b".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .avif .jp2 .j2k .ppm .pgm .pbm "
    b".pnm .tga .ico .heic .heif .psd .svg .mpo .jxl".split()
)
"""Files named so, and files without an extension, are expected to be images;
others are ignored and counted."""
_SYSTEM_NAMES = frozenset({b"thumbs.db", b"desktop.ini", b"__macosx", b"@eadir", b"lost+found"})


@dataclass(slots=True)
class _Listing:
    root: bytes
    follow_symlinks: bool
    records: list[Record] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    visited: set[tuple[int, int]] = field(default_factory=set)

    def entries(self, directory: bytes) -> Iterator[tuple[bytes, bool]]:
        """Sorted (path, is a directory) of what counts in a directory."""
        try:
            entries = sorted(os.scandir(directory), key=lambda e: e.name)
        except OSError as e:
            self.quarantine(directory, "", "unreadable", e.strerror or str(e))
            return
        for entry in entries:
            if is_hidden(entry.name):
                self.ignored["hidden or system files"] += 1
            elif entry.is_symlink() and not self.follow_symlinks:
                self.ignored["symbolic links"] += 1
            else:
                yield entry.path, _is_directory(entry)

    def quarantine(self, path: bytes, label: str, reason: str, detail: str = "") -> None:
        path = os.path.relpath(path, self.root)
        self.quarantined.append(Quarantined(path=path, label=label, reason=reason, detail=detail))

    def file(self, path: bytes, label: str | None, split: str | None) -> None:
        extension = os.path.splitext(path)[1].lower()
        if extension and extension not in IMAGE_EXTENSIONS:
            self.ignored[f"*{show(extension)}"] += 1
        elif label is None:
            self.quarantine(path, "", "outside-class-folders")
        else:
            path = os.path.relpath(path, self.root)
            self.records.append(Record(path=path, label=label, split=split))

    def first_visit(self, directory: bytes) -> bool:
        status = os.stat(directory)
        identity = (status.st_dev, status.st_ino)
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
            for path, is_directory in self.entries(directory):
                if not is_directory:
                    self.file(path, label, split)
                elif os.path.splitext(path)[1].lower() in IMAGE_EXTENSIONS:
                    self.quarantine(path, label, "directory")
                else:
                    stack.append(path)

    def class_folders(self, directory: bytes, split: str | None) -> None:
        """Lists a directory of class folders."""
        for path, is_directory in self.entries(directory):
            if is_directory:
                label = check_label(os.path.basename(path), show(path))
                self.class_folder(path, label, split)
            else:
                self.file(path, None, split)


def list_folder(path: str, *, follow_symlinks: bool = True) -> Source:
    """Lists the images of a folder.

    Raises:
      DataError: no class folders, fewer than two classes, no images, or
        split folders that cannot be told apart.
    """
    root = os.fsencode(path)
    listing = _Listing(root, follow_symlinks)
    listing.first_visit(root)
    split_folders = _split_folders(_Listing(root, follow_symlinks))
    if split_folders:
        for directory, is_directory in listing.entries(root):
            if is_directory:
                listing.class_folders(directory, split_folders[directory])
            else:
                listing.file(directory, None, None)
    else:
        listing.class_folders(root, None)
    if not listing.records:
        raise DataError(_no_images(path, listing))
    check_labels((r.label for r in listing.records), path)
    return Source(
        kind="folder",
        base=root,
        records=tuple(sorted(listing.records, key=lambda r: r.path)),
        quarantined=tuple(listing.quarantined),
        ignored=dict(listing.ignored),
    )


def _split_folders(listing: _Listing) -> dict[bytes, str]:
    """The split of each folder below the root; empty where they are classes.

    A folder called train that holds images and no folders is a class.
    """
    directories = [path for path, is_directory in listing.entries(listing.root) if is_directory]
    names = {d: show(os.path.basename(d)).lower() for d in directories}
    if not any(
        n in SPLIT_NAMES and any(is_directory for _, is_directory in listing.entries(d))
        for d, n in names.items()
    ):
        return {}
    splits: dict[bytes, str] = {}
    for directory, name in names.items():
        split = check_split(name, show(listing.root))
        if split in splits.values():
            raise DataError(
                f"{show(listing.root)}: two folders are the split {split!r} "
                f"({', '.join(sorted(names.values()))}); merge them."
            )
        splits[directory] = split
    if "train" not in splits.values():
        others = ", ".join(sorted(names.values()))
        raise DataError(f"{show(listing.root)}: expected a folder train/ beside {others}.")
    return splits


def _no_images(path: str, listing: _Listing) -> str:
    passed = [f"{n} × {kind}" for kind, n in listing.ignored.items()]
    passed += [f"{show(q.path)}: {q.reason}" for q in listing.quarantined[:3]]
    return (
        f"{path}: expected one folder per class with images in it "
        f"(CLASS/*.jpg or train/CLASS/*.jpg), found no images"
        + (f" ({', '.join(passed)})." if passed else ".")
    )


def is_hidden(name: bytes) -> bool:
    return name.startswith(b".") or name.lower() in _SYSTEM_NAMES


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link that leads to itself
        return False
