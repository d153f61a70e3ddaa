"""The formats of shards by name, what their files are called, and the module that reads each."""

from __future__ import annotations

import importlib
import re
from typing import cast

from components.example_gen.shards.contract import Format

TFRECORD, PARQUET, ARROW = "tfrecord", "parquet", "arrow"
WEBDATASET, ARCHIVE = "webdataset", "archive"
SHARDS = (TFRECORD, PARQUET, ARROW, WEBDATASET)
"""Whose labels may be numbers."""
_NUMBER = r"(-\d+-of-\d+)?"
_TAR = r"\.(tar|tar\.gz|tgz|tar\.bz2|tbz2?|tar\.xz|txz)"
NAMES = {
    TFRECORD: re.compile(
        rf".*\.(tfrecords?|tfrec){_NUMBER}(\.gz)?{_NUMBER}|data_tfrecord-.*\.gz", re.IGNORECASE
    ),
    PARQUET: re.compile(r".*\.(parquet|pq)", re.IGNORECASE),
    ARROW: re.compile(r".*\.(arrow|feather)", re.IGNORECASE),
    WEBDATASET: re.compile(rf".*{_TAR}", re.IGNORECASE),
    ARCHIVE: re.compile(rf".*({_TAR}|\.zip)", re.IGNORECASE),
}
"""A tar is either of two; what is in it decides."""


def reader(kind: str) -> Format:
    """Returns the module of a format, loaded only now."""
    return cast(Format, importlib.import_module(f"components.example_gen.shards.{kind}"))


def is_named(name: str, kind: str) -> bool:
    """Says whether a file's name is one of a format's."""
    return NAMES[kind].fullmatch(name) is not None
