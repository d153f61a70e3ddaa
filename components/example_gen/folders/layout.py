"""Which folders are classes, and which are splits or only hold others.

A tree that a person reads in one way is read so; one that can be read in two is refused
with both, and with what to write.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from common.errors import DataError, nearest
from components.example_gen.folders.ignore import to_ignore
from components.example_gen.folders.names import (
    SPLIT_NAMES,
    is_masks,
    is_part,
    is_series,
    split_named,
    splits_named,
)
from components.example_gen.folders.scan import Folder
from components.example_gen.records import printable, show

_CLASSES, _SPLITS = 'data.layout = "classes"', 'data.layout = "splits"'
"""What to write where folders are classes, whatever they are called."""
_NAMED = 5


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """All images in a folder are of one class."""

    folder: Folder
    name: bytes
    split: str | None = None


@dataclass(slots=True)
class Layout:
    """How a tree is read."""

    classes: list[ClassFolder] = field(default_factory=list)
    levels: list[Folder] = field(default_factory=list)
    """The folders whose folders are the classes."""

    def take(self, level: Folder, split: str | None = None) -> None:
        self.levels.append(level)
        self.classes += [ClassFolder(f, f.name, split) for f in level.filled]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a tree as a person does.

    Attributes:
      where: what the tree is called in messages.
      tables: what lies beside the folders that may name the labels, for messages.
    """

    where: str
    tables: Sequence[str] = ()

    def read(self, root: Folder) -> Layout:
        """Decides what is a class.

        Raises:
          DataError: there are two readings, or none.
        """
        top = self._unwrapped(root)
        splits = _splits(top)
        levels = _levels(splits)
        if any(level.filled for level in levels.values()):
            layout = self._split_layout(top, splits, levels)
            for level in layout.levels:
                self._check_classes(level, _SPLITS)
            return layout
        self._check_flat(top, splits)
        if _is_split_inside(top):
            return _splits_in_classes(top)
        self._check_classes(top, _CLASSES)
        return self.as_classes(top)

    def as_classes(self, root: Folder) -> Layout:
        """Reads the folders at the top as classes, whatever they are called."""
        layout = Layout()
        layout.take(bottom(root))
        return layout

    def as_splits(self, root: Folder) -> Layout:
        """Reads the folders at the top as splits, those in them as classes; raises DataError."""
        top = self._unwrapped(root)
        splits = _splits(top)
        if not any(f.filled for f in splits):
            self._refuse(
                f"expected folders called train, val and test that hold class folders, found "
                f"{_names(top.filled) or 'none'}; rename them, or don't write {_SPLITS}."
            )
        return self._split_layout(top, splits, {f: f for f in splits})

    def _unwrapped(self, root: Folder) -> Folder:
        """Returns the folder that all others lie in; one class alone cannot be trained on."""
        while len(root.filled) == 1 and not split_named(root.filled[0].label):
            (only,) = root.filled
            if not only.is_wrapper:
                break
            if empty := [f for f in root.folders if f.is_empty]:
                self._refuse(
                    f"only {_hold([only])} images, and {_names(empty)} none. Either the images "
                    f"of {_names(empty)} are missing: add them, or remove the folder; or the "
                    f"classes are the folders in {_names([only])} ({_names(only.filled)}): write "
                    f"{self._path(only)}."
                )
            root = only
        return root

    def _split_layout(
        self, top: Folder, splits: dict[Folder, str], levels: dict[Folder, Folder]
    ) -> Layout:
        """Reads folders as splits.

        Args:
          levels: of each split's folder, the one whose folders are its classes.
        """
        flat = [f for f in splits if not levels[f].filled]
        deep = [f for f in splits if f not in flat]
        if others := [f for f in top.filled if f not in splits]:
            self._refuse_others(others, deep)
        if flat:
            self._refuse(
                f"{_hold(flat)} images and no class folders, unlike {_names(deep)}. Either these "
                f"have no labels: leave them aside with {_ignore(flat)}; or they have: put them "
                f"into class folders ({flat[0].label}/CLASS/*.jpg)."
            )
        by_split: dict[str, Folder] = {}
        for folder, split in splits.items():
            if split in by_split:
                both = [by_split[split], folder]
                self._refuse(
                    f"two folders are the split {split!r} ({_names(both)}); merge them, or leave "
                    f"one aside with {_ignore([folder])}."
                )
            by_split[split] = folder
        if "train" not in by_split:
            self._refuse(
                f"expected a folder train/ beside {_names(deep)}. To train on what is there "
                f"write {self._path(deep[0])}; if these folders are classes, write {_CLASSES}."
            )
        layout = Layout()
        for split, folder in by_split.items():
            layout.take(levels[folder], split)
        return layout

    def _check_flat(self, top: Folder, splits: dict[Folder, str]) -> None:
        """Refuses folders called as splits are that hold images; one called train may be a class.

        There are trains among vehicles, and hardly a thing that is called test.
        """
        folders = list(splits)
        if len(set(splits.values())) > 1 or (splits and len(top.filled) == 1):
            self._refuse_flat(folders)
        if {*splits.values()} - {"train"}:
            self._refuse(
                f"{_hold(folders)} images and no class folders, and is called as a split is. "
                f"Either it has no labels: leave it aside with {_ignore(folders)}; or it is a "
                f"class: write {_CLASSES}."
            )

    def _refuse_others(self, others: list[Folder], deep: list[Folder]) -> NoReturn:
        unknown = others[0].label
        self._refuse(
            f"unknown split {unknown!r}: {_hold(deep)} class folders as a split does, and "
            f"{_hold(others)} images too.{nearest(unknown, SPLIT_NAMES)} Either leave "
            f"{_names(others)} aside with {_ignore(others)}; or, if all folders here are classes, "
            f"write {_CLASSES}."
        )

    def _check_classes(self, level: Folder, meant: str) -> None:
        """Refuses folders that are hardly classes, or whose classes are one level deeper.

        Args:
          meant: what to write where they are classes all the same.
        """
        folders = level.filled
        masks = [f for f in folders if is_masks(f.label)]
        pictures = [f for f in folders if f not in masks]
        if masks and any(is_part(f.label) for f in pictures):
            self._refuse(
                f"{_names(masks)} may be masks of the images in {_names(pictures)}, and no class: "
                f"{self.without_labels()}; or, if the classes are folders in {_names(pictures)}, "
                f"leave the masks aside with {_ignore(masks)}; or, if these folders are classes, "
                f"write {meant}."
            )
        for folder in folders:
            again = bottom(folder).filled
            if len({f.label for f in folders if f is not folder} & {f.label for f in again}) > 1:
                self._refuse(
                    f"classes are there twice, in {_names([folder])} again ({_names(again)}), as "
                    f"from a zip that was unpacked into itself. Remove {_names([folder])} or leave "
                    f"it aside with {_ignore([folder])}; if it is a class, write {meant}."
                )
        inner = {f: bottom(f) for f in folders if f.is_wrapper and len(bottom(f).filled) > 1}
        if shared := _shared(list(inner.values()), len(folders)):
            self._refuse_deeper(folders, next(iter(inner.values())), shared, meant)
        for folder, inside in inner.items():
            if is_part(folder.label) or is_part(inside.label) or len(_splits(inside)) > 1:
                self._refuse_deeper(folders, inside, inside.filled, meant)
        if len(folders) > 1 and all(is_part(f.label) for f in folders):
            self._refuse_flat(folders, meant)

    def _refuse_flat(self, folders: list[Folder], meant: str = _CLASSES) -> NoReturn:
        either = f"; or, if {_names(folders)} are the classes, write {meant}"
        self._refuse(
            f"{_hold(folders)} images and no class folders, so nothing says what they show: "
            f"{self.without_labels()}{either if len(folders) > 1 else ''}."
        )

    def _refuse_deeper(
        self, folders: list[Folder], first: Folder, inside: list[Folder], meant: str
    ) -> NoReturn:
        aside = "".join(
            f', or leave {f.label}/ aside with data.ignore = ["{f.label}/"]'
            for f in inside
            if is_masks(f.label)
        )
        deeper = ", ".join(f.label for f in inside[:_NAMED])
        self._refuse(
            f"the classes may be {_names(folders)}, or the folders one level deeper ({deeper}). "
            f"For the first write {meant}{aside}; for the second move these together, or write "
            f"{self._path(first)}."
        )

    def without_labels(self) -> str:
        """Returns what to do where folders don't say what images show."""
        beside = f" ({', '.join(self.tables)} is there)" if self.tables else ""
        return (
            "put the images into class folders (CLASS/*.jpg or train/CLASS/*.jpg), or give a "
            f"manifest with the columns path and label{beside} as data.path"
        )

    def _path(self, folder: Folder) -> str:
        return f'data.path = "{os.path.join(self.where, show(folder.path))}"'

    def _refuse(self, text: str) -> NoReturn:
        raise DataError(printable(f"{self.where}: {text}"))


def _class_level(folder: Folder, known: Collection[str] = ()) -> Folder:
    """Returns the folder of a split whose folders are its classes.

    One folder within that holds all others is no class, for a model cannot be trained on
    one; among `known`, those of the train split, it is.
    """
    while not folder.files and len(folder.filled) == 1:
        (only,) = folder.filled
        holds_classes = (
            only.is_wrapper
            and not any(f.is_empty for f in folder.folders)
            and (any(f.label in known for f in only.filled) if known else len(only.filled) > 1)
        )
        is_container = is_part(only.label) or only.label == folder.label
        if only.label in known or not (is_container or holds_classes):
            break
        folder = only
    return folder


def _splits(top: Folder) -> dict[Folder, str]:
    """Returns the folders that are called as splits are."""
    named = splits_named(f.label for f in top.filled)
    return {f: named[f.label] for f in top.filled if f.label in named}


def _levels(splits: dict[Folder, str]) -> dict[Folder, Folder]:
    """Returns, of each split's folder, the one whose folders are its classes."""
    trained = next((_class_level(f) for f, split in splits.items() if split == "train"), None)
    known = {f.label for f in trained.filled} if trained else ()
    return {f: _class_level(f, () if split == "train" else known) for f, split in splits.items()}


def _is_split_inside(top: Folder) -> bool:
    """Says whether each class has splits of its own, as in cat/train/*.jpg."""
    inside = [f for c in top.filled for f in c.filled]
    return (
        all(c.is_wrapper and not is_part(c.label) for c in top.filled)
        and all(split_named(f.label) and not f.filled for f in inside)
        and any(split_named(f.label) == "train" for f in inside)
    )


def _splits_in_classes(top: Folder) -> Layout:
    return Layout(
        [ClassFolder(f, c.name, split_named(f.label)) for c in top.filled for f in c.filled], [top]
    )


def _shared(wrappers: list[Folder], classes: int) -> list[Folder]:
    """Returns folders that are in many of the class folders alike, so may be the classes."""
    counts = Counter(f.label for w in wrappers for f in w.filled if not is_series(f.label))
    alike = {name for name, count in counts.items() if count > 1}
    having = [w for w in wrappers if sum(f.label in alike for f in w.filled) > 1]
    if len(having) < 2 or 2 * len(having) < classes:
        return []
    return [f for f in having[0].filled if f.label in alike]


def bottom(folder: Folder) -> Folder:
    """Returns the folder that all class folders lie in, of folders in folders."""
    while len(folder.filled) == 1 and folder.filled[0].is_wrapper:
        (folder,) = folder.filled
    return folder


def _hold(folders: Sequence[Folder]) -> str:
    return f"{_names(folders)} hold{'s' if len(folders) == 1 else ''}"


def _names(folders: Sequence[Folder]) -> str:
    shown = ", ".join(f"{show(f.path)}/" for f in folders[:_NAMED])
    more = len(folders) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _ignore(folders: Sequence[Folder]) -> str:
    return to_ignore(f.path for f in folders)
