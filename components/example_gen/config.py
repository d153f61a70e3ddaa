"""Where the images are and how they are ingested: ImageExampleGen's one JSON property."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from common.config import strict
from common.config.ranges import at_least, between, filled, more_than, one_of, require
from common.images.plain import DEPTH, MAX_PIXELS

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(strict.Checked):
    """The data of a pipeline (see docs/data.md)."""

    path: Annotated[str, filled("a folder or file of images")]
    """Images are read from this folder, manifest or TFRecords; may hold {SPAN} and {VERSION}."""
    format: Literal["auto", "folder", "manifest", "tfrecord"] = "auto"
    """What the path names, see docs/data.md; auto guesses."""
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

    def check(self) -> None:
        for name in ("train", "val"):
            require(name in self.splits, f"splits: {name!r} is missing, got {self.splits!r}.")
        total = math.fsum(self.splits.values())
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
