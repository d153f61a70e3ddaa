"""Listing a data source, whichever kind it is: the start of every ingestion."""

from __future__ import annotations

import os
from dataclasses import replace

from common.errors import DataError
from components.example_gen.config import DataConfig
from components.example_gen.folder import holds_images, list_folder
from components.example_gen.ignore import IGNORED, Ignore
from components.example_gen.manifest import OTHER_SUFFIXES, SUFFIXES, list_manifest, manifests_in
from components.example_gen.names import is_hidden
from components.example_gen.records import Record, Source, alike, check_split, show


def list_source(config: DataConfig, path: str) -> Source:
    """Lists the records at a path.

    Args:
      path: `config.path`, its span and version filled in.

    Raises:
      DataError: nothing there, nothing usable, or ambiguous.
    """
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; check data.path.")
    kind = _guess(path, config) if config.format == "auto" else config.format
    if kind == "tfrecord":
        source = _list_tfrecords(path)
    elif kind == "manifest":
        source = _list_manifest(path, config)
    elif os.path.isdir(path):
        source = list_folder(path, config)
        if config.format == "auto":
            _check_manifests(path, source, Ignore(config.ignore))
    else:
        raise DataError(
            f"{path}: expected a folder, a manifest ({', '.join(SUFFIXES)}) or *.tfrecord[.gz]."
        )
    if kind != "folder":
        source = _without(Ignore(config.ignore), source)
    source = replace(source, notices=(*source.notices, *alike(r.label for r in source.records)))
    for record in source.records:
        if record.split not in (None, *config.split_names):
            raise DataError(
                f"{path}: there are {record.split} images, but data.splits has no share for "
                f"{record.split!r}; add it (its share is not used) or move the images."
            )
    return source


def _without(ignore: Ignore, source: Source) -> Source:
    """Leaves out what `data.ignore` says; a folder's listing does so itself."""
    kept = tuple(r for r in source.records if not ignore(r.path))
    left = len(source.records) - len(kept)
    return replace(
        source,
        records=kept,
        ignored={**source.ignored, **({IGNORED: left} if left else {})},
        notices=(*source.notices, *ignore.notices),
    )


def _list_manifest(path: str, config: DataConfig) -> Source:
    try:
        return list_manifest(_manifest_of(path))
    except DataError as e:
        if config.format == "manifest" or os.path.isfile(path):
            raise
        try:
            list_folder(path, config)
        except DataError:
            raise e from None
        raise DataError(f'{e} To read the class folders write data.format = "folder".') from None


def _check_manifests(path: str, source: Source, ignore: Ignore) -> None:
    """Refuses class folders beside a manifest that says otherwise; any other is only told of."""
    labels = {os.path.normpath(r.path): (r.label, r.split) for r in source.records}
    for name in manifests_in(path):
        if ignore(name):
            continue
        try:
            records = list_manifest(os.path.join(path, name)).records
        except DataError:  # a table of another kind
            continue
        for record in records:
            here = labels.get(os.path.normpath(record.path), ("nothing", None))
            there = (record.label, record.split or here[1])
            if here != there:
                raise DataError(
                    f"{path}: of {show(record.path)} the manifest {name} says {_said(*there)}, the "
                    f'folders say {_said(*here)}. To read the manifest write data.path = "'
                    f'{os.path.join(path, name)}", to read the folders data.format = "folder".'
                )


def _said(label: str, split: str | None) -> str:
    return repr(label) + (f" in {split}" if split else "")


def is_tfrecord(name: str) -> bool:
    return name.lower().endswith((".tfrecord", ".tfrecord.gz")) or (
        name.startswith("data_tfrecord-") and name.endswith(".gz")
    )


def _guess(path: str, config: DataConfig) -> str:
    if os.path.isfile(path):
        if is_tfrecord(os.path.basename(path)):
            return "tfrecord"
        return "manifest" if path.lower().endswith(SUFFIXES + OTHER_SUFFIXES) else "folder"
    ignore = Ignore(config.ignore)
    names = [n for n in os.listdir(path) if not is_hidden(os.fsencode(n)) and not ignore(n)]
    folders = [n for n in names if os.path.isdir(os.path.join(path, n))]
    in_splits = [f for f in folders if f.startswith("Split-") and _tfrecords_in(path, f)]
    if shards := sorted(n for n in names if is_tfrecord(n)) + in_splits:
        rest = sorted(f for f in folders if f not in in_splits)
        if others := [f for f in rest if holds_images(os.path.join(path, f), config)]:
            raise DataError(
                f"{path}: TFRecords ({', '.join(shards)}) lie beside folders of images "
                f'({", ".join(others)}). To read the TFRecords write data.format = "tfrecord", '
                'to read the images data.format = "folder".'
            )
        return "tfrecord"
    # One folder at most: the images themselves, beside the manifest.
    if len(folders) < 2 and manifests_in(path):
        return "manifest"
    return "folder"


def _manifest_of(path: str) -> str:
    if not os.path.isdir(path):
        return path
    names = manifests_in(path)
    if len(names) != 1:
        raise DataError(
            f"{path}: expected exactly one manifest ({', '.join(SUFFIXES)}), found "
            f"{', '.join(names) or 'none'}; give the file itself as data.path."
        )
    return os.path.join(path, names[0])


def _list_tfrecords(path: str) -> Source:
    """Lists files of raw examples; a record stands for a file, not an image."""
    files: list[tuple[str, str | None]]
    if os.path.isfile(path):
        files = [(os.path.basename(path), None)]
        path = os.path.dirname(path)
    else:
        files = [(n, None) for n in _tfrecords_in(path)]
        for folder in sorted(os.listdir(path)):
            if folder.startswith("Split-"):
                split = check_split(folder.removeprefix("Split-"), os.path.join(path, folder))
                inside = _tfrecords_in(os.path.join(path, folder))
                files += [(os.path.join(folder, n), split) for n in inside]
    if not files:
        raise DataError(f"{path}: expected *.tfrecord or *.tfrecord.gz files, found none.")
    splits = {split for _, split in files}
    if None in splits and len(splits) > 1:
        raise DataError(
            f"{path}: TFRecords lie both in Split- folders and beside them; choose one."
        )
    if None not in splits and "train" not in splits:
        raise DataError(f"{path}: expected a folder Split-train.")
    return Source(
        kind="tfrecord",
        base=os.fsencode(path),
        records=tuple(Record(path=os.fsencode(n), label="", split=s) for n, s in files),
    )


def _tfrecords_in(*directory: str) -> list[str]:
    return sorted(n for n in os.listdir(os.path.join(*directory)) if is_tfrecord(n))
