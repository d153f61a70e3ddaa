"""Manifests of a split each: train.csv beside val.csv, or one in each of train/ and valid/."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from common.errors import DataError
from components.example_gen.config import DataConfig
from components.example_gen.folders.ignore import Ignore
from components.example_gen.folders.names import image_by_name, is_hidden, splits_named
from components.example_gen.manifest import manifests_in, read_manifest
from components.example_gen.records import Record, Source, check_labels, show


def split_manifests(path: str, config: DataConfig) -> dict[str, str]:
    """Returns the splits of a folder's manifests by their paths in it; none where it has no such.

    Raises:
      DataError: a folder of a split has none, and images.
    """
    ignore = Ignore(config.ignore)
    tables = [name for name in manifests_in(path) if not ignore(name)]
    if tables:
        stems = {os.path.splitext(name)[0]: name for name in tables}
        splits = {stems[stem]: split for stem, split in splits_named(stems).items()}
        return splits if len(set(splits.values())) == len(tables) > 1 else {}
    found, others = {}, []
    for name, split in splits_named(_folders(path)).items():
        folder = os.path.join(path, name)
        inside = [m for n in manifests_in(folder) if not ignore(m := os.path.join(name, n))]
        files = [m for n in os.listdir(folder) if not ignore(m := os.path.join(name, n))]
        if len(inside) == 1 and not _folders(folder):
            found[inside[0]] = split
        elif any(image_by_name(os.fsencode(f)) == "yes" for f in files):
            others.append(name)
    if found and others:
        raise DataError(
            f"{path}: {min(found)} says what its images show, and no manifest says so of "
            f"{others[0]}/; add one, or leave it aside with "
            f'data.ignore = ["{others[0]}/**"].'
        )
    return found


def list_split_manifests(path: str, splits: Mapping[str, str], config: DataConfig) -> Source:
    """Lists the images of all of them; see `read_manifest`.

    Args:
      splits: what `split_manifests` returned.
    """
    if "train" not in splits.values():
        raise DataError(
            f"{path}: {', '.join(sorted(splits))} are manifests of splits, and none is of train; "
            "some images are needed to train on."
        )
    listed = {name: read_manifest(os.path.join(path, name), config) for name in sorted(splits)}
    check_labels((r.label for s in listed.values() for r in s.records), path)
    columns = tuple(dict.fromkeys(c for s in listed.values() for c in s.extra_columns))
    ignored: dict[str, int] = {}
    for source in listed.values():
        for kind, count in source.ignored.items():
            ignored[kind] = ignored.get(kind, 0) + count
    return Source(
        kind="manifest",
        base=os.path.abspath(os.fsencode(path)),
        records=tuple(
            _of_split(record, path, name, splits[name], columns)
            for name, source in listed.items()
            for record in source.records
        ),
        quarantined=tuple(
            replace(q, path=os.path.join(os.fsencode(os.path.dirname(name)), q.path))
            for name, source in listed.items()
            for q in source.quarantined
        ),
        ignored=ignored,
        extra_columns=columns,
        notices=tuple(notice for source in listed.values() for notice in source.notices),
    )


def _of_split(record: Record, path: str, name: str, split: str, columns: tuple[str, ...]) -> Record:
    if record.split not in (None, split):
        raise DataError(
            f"{os.path.join(path, name)}: its name says {split}, and its column split says "
            f"{record.split} of {show(record.path)}; correct one, or give the file as data.path."
        )
    extra = dict(record.extra)
    return record._replace(
        path=os.path.join(os.fsencode(os.path.dirname(name)), record.path),
        split=split,
        extra=tuple((column, extra.get(column, "")) for column in columns),
    )


def _folders(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not is_hidden(os.fsencode(e.name)))
