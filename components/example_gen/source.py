"""Listing a data source, whichever kind it is: the start of every ingestion."""

from __future__ import annotations

import os

from common.errors import DataError
from components.example_gen.config import DataConfig
from components.example_gen.folder import is_hidden, list_folder
from components.example_gen.manifest import SUFFIXES, list_manifest, manifests_in
from components.example_gen.records import Record, Source, check_split


def list_source(config: DataConfig, path: str) -> Source:
    """Lists the records at a path.

    Args:
      path: `config.path`, its span and version filled in.

    Raises:
      DataError: nothing there, nothing usable, or ambiguous.
    """
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; check data.path.")
    kind = _guess(path) if config.format == "auto" else config.format
    if kind == "tfrecord":
        source = _list_tfrecords(path)
    elif kind == "manifest":
        source = list_manifest(_manifest_of(path))
    elif os.path.isdir(path):
        source = list_folder(path, follow_symlinks=config.follow_symlinks)
    else:
        raise DataError(
            f"{path}: expected a folder, a manifest ({', '.join(SUFFIXES)}) or *.tfrecord[.gz]."
        )
    for record in source.records:
        if record.split not in (None, *config.split_names):
            raise DataError(
                f"{path}: there are {record.split} images, but data.splits has no share for "
                f"{record.split!r}; add it (its share is not used) or move the images."
            )
    return source


def is_tfrecord(name: str) -> bool:
    return name.lower().endswith((".tfrecord", ".tfrecord.gz")) or (
        name.startswith("data_tfrecord-") and name.endswith(".gz")
    )


def _guess(path: str) -> str:
    if os.path.isfile(path):
        if is_tfrecord(os.path.basename(path)):
            return "tfrecord"
        return "manifest" if path.lower().endswith(SUFFIXES) else "folder"
    names = [n for n in os.listdir(path) if not is_hidden(os.fsencode(n))]
    folders = [n for n in names if os.path.isdir(os.path.join(path, n))]
    if any(is_tfrecord(n) for n in names) or any(n.startswith("Split-") for n in folders):
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


def _tfrecords_in(directory: str) -> list[str]:
    return sorted(n for n in os.listdir(directory) if is_tfrecord(n))
