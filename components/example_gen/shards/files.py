"""Which files make up a set of shards, and what their names say: splits, numbers, class names."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from common.errors import DataError
from components.example_gen.class_names import config_names, read_names
from components.example_gen.config import Columns, DataConfig
from components.example_gen.folders.ignore import Ignore
from components.example_gen.folders.names import image_by_name, is_hidden
from components.example_gen.manifest import manifests_in
from components.example_gen.records import Shard, Source, show
from components.example_gen.shards.archive import list_archives
from components.example_gen.shards.formats import (
    ARCHIVE,
    NAMES,
    WEBDATASET,
    is_named,
    reader,
)
from components.example_gen.shards.splits import split_of
from components.example_gen.shards.webdataset import is_webdataset

_LFS = b"version https://git-lfs.github.com/"
_NUMBERED = re.compile(r"-(\d+)-of-(\d+)")
_LABEL_NAMES = ".labels.txt"
"""Ends the names of the files in which TFDS keeps class names."""
_OTHER_ARCHIVES = (".rar", ".7z", ".tar.zst", ".zst", ".lz4")
_MOST_LEVELS = 4
"""Of folders in which shards are looked for."""


def guess(path: str, ignore: Ignore) -> str | None:
    """Returns the format of the shards at a path; None where there are none.

    Raises:
      DataError: there are shards of two formats, or shards beside folders of images.
    """
    name = os.path.basename(path)
    if os.path.isfile(path):
        if name.lower().endswith(_OTHER_ARCHIVES):
            raise DataError(f"{path}: such archives are not read; unpack it, and give the folder.")
        return _kind_of(path) if _by_name(name) else None
    found: dict[str, str] = {}
    images = ""
    for folder, names in _folders(path, ignore):
        for name in names:
            if kind := _by_name(name):
                found.setdefault(kind, os.path.join(folder, name))
        # Beside the shards' folders, an image is a logo.
        if folder != path and any(_is_image(n) for n in names):
            images = folder
            break
    if images:  # what was unpacked may lie beside its archive
        found = {k: f for k, f in found.items() if k not in (WEBDATASET, ARCHIVE)}
    if not found:
        return None
    if len(found) > 1 or images:
        shown = [os.path.relpath(f, path) for f in found.values()]
        shown += [f"images in {os.path.relpath(images, path)}/"] if images else []
        kinds = [*found, *(["folder"] if images else [])]
        choices = " or ".join(f'data.format = "{kind}"' for kind in kinds)
        raise DataError(
            f"{path}: found {show(' and '.join(shown))}. To read one of them write {choices}."
        )
    ((_, file),) = found.items()
    kind = _kind_of(file)
    manifests = [n for n in manifests_in(path) if not ignore(n)] if kind == ARCHIVE else []
    if manifests and any(map(_is_image, os.listdir(path))):
        return None
    if manifests:
        raise DataError(
            f"{path}: found the manifest {manifests[0]} beside {os.path.relpath(file, path)}, and "
            "a manifest's images are read from files only; unpack the archive, or move one of them."
        )
    return kind


def _by_name(name: str) -> str | None:
    """The format that a name says; of a tar, which may be either, WebDataset."""
    return next((kind for kind in NAMES if is_named(name, kind)), None)


def _kind_of(file: str) -> str:
    kind = _by_name(os.path.basename(file)) or ARCHIVE
    if kind == WEBDATASET:
        check_content(file)
        return WEBDATASET if is_webdataset(file) else ARCHIVE
    return kind


def _is_image(name: str) -> bool:
    return image_by_name(os.fsencode(name)) == "yes"


def _folders(path: str, ignore: Ignore) -> Iterator[tuple[str, list[str]]]:
    """Yields a folder and those in it, with the names of their files; not what is hidden."""
    waiting, seen = [""], set()
    while waiting:
        inside = waiting.pop()
        real = os.path.realpath(os.path.join(path, inside))
        if real in seen or inside.count(os.sep) > _MOST_LEVELS or not os.access(real, os.R_OK):
            continue
        seen.add(real)
        files, folders = [], []
        for name in sorted(os.listdir(real)):
            place = os.path.join(inside, name)
            is_folder = os.path.isdir(os.path.join(path, place))
            if is_hidden(os.fsencode(name)) or ignore(place, is_directory=is_folder):
                continue
            if is_folder:
                folders.append(place)
            elif os.path.isfile(os.path.join(path, place)):
                files.append(name)
        yield os.path.join(path, inside) if inside else path, files
        waiting += reversed(folders)


def list_shards(path: str, kind: str, config: DataConfig) -> Source:
    """Lists the files of a format and what is known of them without reading their images.

    Raises:
      DataError: none, more than one set of them, splits that cannot be told apart, or what
        the format's check finds.
    """
    if os.path.isfile(path):
        base, names = os.path.split(path)
    else:
        base, names = path, ""
    ignore = Ignore(config.ignore)
    found = [names] if names else _names(path, kind, ignore)
    if not found:
        raise DataError(f"{path}: expected {kind} files, found none; check data.path.")
    for name in found:
        check_content(os.path.join(base, name))
    if kind == ARCHIVE:
        return list_archives(base, found, config)
    splits = {} if names else _splits(path, found)
    class_names = config_names(config)
    shards = tuple(
        Shard(
            path=os.fsencode(name),
            split=splits.get(name),
            names=class_names or _names_beside(os.path.join(base, name), config.columns),
        )
        for name in found
    )
    for shard in shards:
        file = os.path.join(base, os.fsdecode(shard.path))
        reader(kind).check(file, shard, config.columns)
    return Source(
        kind=kind,
        base=os.fsencode(base),
        records=(),
        shards=shards,
        notices=(*_incomplete(path, found), *ignore.notices),
    )


def _names(path: str, kind: str, ignore: Ignore) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), path)
        for folder, names in _folders(path, ignore)
        for name in names
        if is_named(name, kind)
    )


def check_content(file: str) -> None:
    """Raises DataError for a file that is empty, or is there in place of one to be fetched."""
    try:
        with open(file, "rb") as f:
            head = f.read(len(_LFS))
    except OSError as e:
        raise DataError(f"{file}: cannot be read: {e.strerror}.") from None
    if head == _LFS:
        raise DataError(
            f"{file}: expected data, got a pointer of Git LFS; run `git lfs pull` where it lies."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise DataError(f"{file}: expected data, got a web page; fetch the file itself.")
    if not head:
        raise DataError(f"{file}: the file is empty; fetch it again.")


def _splits(path: str, names: Sequence[str]) -> dict[str, str | None]:
    """File → the split that its name or its folders say.

    Raises:
      DataError: a name says two, some say none, or several sets lie beside each other.
    """
    splits: dict[str, str | None] = {}
    sets: dict[str, str] = {}
    for name in names:
        splits[name], place = split_of(path, name)
        sets.setdefault(place, name)
    if len(sets) > 1:
        raise DataError(
            f"{path}: there are several data sets: {' and '.join(sorted(map(repr, sets)))}; give "
            "the folder of one as data.path."
        )
    some = {s for s in splits.values() if s is not None}
    if some and None in splits.values():
        without = next(n for n, s in splits.items() if s is None)
        with_ = next(n for n, s in splits.items() if s is not None)
        raise DataError(
            f"{path}: {with_} is of the split {splits[with_]!r}, {without} says no split; rename "
            "or move one of them (train-*.…, or train/)."
        )
    if some and "train" not in some:
        raise DataError(
            f"{path}: expected files of the split train beside {', '.join(sorted(some))}, such as "
            f"{_renamed(names[0])}."
        )
    return splits


def _renamed(name: str) -> str:
    return "train-00000" + re.sub(r"^[^.]*", "", os.path.basename(name))


def _incomplete(path: str, names: Sequence[str]) -> Iterator[str]:
    """Yields what to say of numbered files of which some are not there."""
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for name in names:
        if match := _NUMBERED.search(os.path.basename(name)):
            before = os.path.join(os.path.dirname(name), os.path.basename(name)[: match.start()])
            numbers[before, int(match[2])].add(int(match[1]))
    for (before, count), there in sorted(numbers.items()):
        if len(there) < count:
            yield (
                f"{path}: {len(there)} of the {count} files {before}-*-of-{count:05} are there; "
                "the others' images are missing."
            )


def _names_beside(file: str, columns: Columns) -> tuple[str, ...]:
    """Reads the class names that TFDS writes beside its files."""
    folder = os.path.dirname(file)
    found = {
        n.removesuffix(_LABEL_NAMES): os.path.join(folder, n)
        for n in os.listdir(folder or ".")
        if n.endswith(_LABEL_NAMES)
    }
    wanted = columns.label or ("label" if len(found) != 1 else next(iter(found)))
    return read_names(found[wanted]) if wanted in found else ()
