"""Listing a data source, whichever kind it is: the start of every ingestion."""

from __future__ import annotations

import os
from dataclasses import replace

from common.errors import DataError
from components.example_gen.config import Columns, DataConfig
from components.example_gen.folders.ignore import IGNORED, Ignore
from components.example_gen.folders.listing import list_folder
from components.example_gen.folders.names import is_hidden
from components.example_gen.manifest import OTHER_SUFFIXES, SUFFIXES, list_manifest, manifests_in
from components.example_gen.records import Source, alike, show
from components.example_gen.shards.files import guess, list_shards
from components.example_gen.shards.formats import ARCHIVE, NAMES
from components.example_gen.split_manifests import list_split_manifests, split_manifests
from components.example_gen.splits import no_share


def list_source(config: DataConfig, path: str) -> Source:
    """Lists the records at a path.

    Args:
      path: `config.path`, its span and version filled in.

    Raises:
      DataError: nothing there, nothing usable, or ambiguous.
    """
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder; check data.path.")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"{path}: expected a folder or a file, got a device, pipe or socket.")
    kind = _guess(path, config) if config.format == "auto" else config.format
    if kind in NAMES:
        source = list_shards(path, kind, config)
    elif kind == "manifest":
        source = _list_manifest(path, config)
    elif os.path.isdir(path):
        source = list_folder(path, config)
        if config.format == "auto":
            _check_manifests(path, source, config)
    else:
        raise DataError(
            f"{path}: expected a folder, an archive of one (.zip, .tar, .tar.gz), a manifest "
            f"({', '.join(SUFFIXES)}), or *.parquet, *.tfrecord or WebDataset's *.tar."
        )
    if kind in ("folder", ARCHIVE) and (config.columns != Columns() or config.class_names):
        raise DataError(
            f"{path}: class folders have no columns, and their names are the labels; remove "
            "data.columns and data.class_names, or give a manifest as data.path."
        )
    if kind == "manifest":
        source = _without(Ignore(config.ignore), source)
    source = replace(source, notices=(*source.notices, *alike(r.label for r in source.records)))
    for listed in source.records or source.shards:
        if listed.split not in (None, *config.split_names):
            raise DataError(f"{path}: {no_share(listed.split)}")
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
    if os.path.isdir(path) and (splits := split_manifests(path, config)):
        return list_split_manifests(path, splits, config)
    try:
        return list_manifest(_manifest_of(path), config)
    except DataError as e:
        if config.format == "manifest" or os.path.isfile(path):
            raise
        try:
            list_folder(path, config)
        except DataError:
            raise e from None
        raise DataError(f'{e} To read the class folders write data.format = "folder".') from None


def _check_manifests(path: str, source: Source, config: DataConfig) -> None:
    """Refuses class folders beside a manifest that says otherwise; any other is only told of."""
    ignore = Ignore(config.ignore)
    labels = {os.path.normpath(r.path): (r.label, r.split) for r in source.records}
    for name in manifests_in(path):
        if ignore(name):
            continue
        try:
            records = list_manifest(os.path.join(path, name), config).records
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


def _guess(path: str, config: DataConfig) -> str:
    ignore = Ignore(config.ignore)
    if (kind := guess(path, ignore)) is not None:
        return kind
    if os.path.isfile(path):
        return "manifest" if path.lower().endswith(SUFFIXES + OTHER_SUFFIXES) else "folder"
    names = [n for n in os.listdir(path) if not is_hidden(os.fsencode(n)) and not ignore(n)]
    folders = [n for n in names if os.path.isdir(os.path.join(path, n))]
    # One folder at most: the images themselves, beside the manifest.
    if len(folders) < 2 and manifests_in(path):
        return "manifest"
    if config.layout == "auto" and split_manifests(path, config):
        try:
            list_folder(path, config)
        except DataError:
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
