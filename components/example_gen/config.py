"""Where the images are and how they are ingested: ImageExampleGen's one JSON property."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from common.config import strict
from common.config.ranges import at_least, between, filled, more_than, one_of, require, shown
from common.errors import ConfigError
from common.images.plain import DEPTH, MAX_PIXELS
from components.example_gen.folders.ignore import Ignore

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns(strict.Checked):
    """Which columns of a manifest or of shards hold what.

    Of TFRecords: features; of WebDataset: endings of files, or json.NAME.
    """

    image: str | None = None
    """The encoded image, of a manifest its path; None: the one that holds images."""
    label: str | None = None
    """The class, as text or number; None: label, or what is known to be another name of it."""
    split: str | None = None
    """The split of each image; None: split, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(strict.Checked):
    """The data of a pipeline (see docs/data.md)."""

    path: Annotated[str, filled("a folder or file of images")]
    """Images are read from this folder, manifest, archive or files of a data set; may hold
    {SPAN} and {VERSION}."""
    format: Literal[
        "auto", "folder", "manifest", "tfrecord", "parquet", "arrow", "webdataset", "archive"
    ] = "auto"
    """What the path names: class folders, an archive of them, a table or JSON of paths and labels
    (CSV, COCO, Label Studio and others), or files of many images; see docs/data.md. auto tells by
    names and contents."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of a manifest, or of files of many images, hold what."""
    class_names: tuple[str, ...] | str | None = None
    """Names of the classes where labels are numbers, beginning with that of 0; or a file with
    one a line."""
    span: Annotated[int, at_least(0)] | None = None
    """Span to read; None: the latest."""
    version: Annotated[int, at_least(0)] | None = None
    """Version of the span to read; None: the latest."""
    splits: dict[Annotated[str, one_of(SPLITS)], Annotated[float, more_than(0, below=1)]] = field(
        default_factory=lambda: {"train": 0.8, "val": 0.1, "test": 0.1}
    )
    """Share of each split, adding up to one, for images that come without a
    split.  Without "test", "val" is the split that models are evaluated on."""
    max_quarantine_fraction: Annotated[float, between(0, 1)] = 0.05
    """The run fails when more than this fraction of the images is unusable."""
    max_pixels: Annotated[int, at_least(1)] = MAX_PIXELS
    """Larger images (width × height) are quarantined undecoded."""
    depth: Annotated[int, between(8, 16)] = DEPTH
    """Bits that the samples of image files of 16 bits have, such as 12 for many cameras and
    scanners.  Larger samples become white; the server applies it too."""
    follow_symlinks: bool = True
    """Whether symbolic links in an image folder are followed."""
    layout: Literal["auto", "classes", "splits"] = "auto"
    """The folders at the top of an image folder are classes, or splits that hold classes, whatever
    they are called; auto: as a person would read them, and refused where there are two readings."""
    ignore: tuple[str, ...] = ()
    """Files and folders of the source that match these patterns, written as in a .gitignore, are
    left aside, such as docs/**."""

    def check(self) -> None:
        if self.class_names is not None and not isinstance(self.class_names, str):
            names = self.class_names
            require(
                len({*names}) == len(names) > 1 and all(n.strip() for n in names),
                f"class_names: expected at least two different names, got {shown(names)}.",
            )
        for name in ("train", "val"):
            require(name in self.splits, f"splits: {name!r} is missing, got {self.splits!r}.")
        total = math.fsum(self.splits.values())
        try:
            Ignore(self.ignore)
        except ValueError as e:
            raise ConfigError(f"ignore: expected patterns as in a .gitignore: {e}") from None
        require(abs(total - 1) < 1e-6, f"splits: expected shares adding up to 1, got {total:g}.")

    @property
    def split_names(self) -> tuple[str, ...]:
        """Returns the splits that ingestion writes, in order."""
        return tuple(name for name in SPLITS if name in self.splits)


def evaluation_split(config: DataConfig) -> str:
    """Returns the split that the Evaluator judges models on."""
    return config.split_names[-1]


def to_json(config: DataConfig) -> str:
    return json.dumps(strict.dump(config), sort_keys=True)


def from_json(text: str) -> DataConfig:
    return strict.parse(DataConfig, json.loads(text), "data.")
