"""Where the images are and how they are ingested: ImageExampleGen's one JSON property."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Literal

from common.config import strict
from common.config.ranges import require
from common.errors import nearest
from common.images.plain import MAX_PIXELS

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The data of a pipeline (see docs/data.md)."""

    path: str
    """Images are read from this folder, manifest or TFRecords; may hold {SPAN} and {VERSION}."""
    format: Literal["auto", "folder", "manifest", "tfrecord"] = "auto"
    """What the path names, see docs/data.md; auto guesses."""
    span: int | None = None
    """Span to read; None: the latest."""
    version: int | None = None
    """Version of the span to read; None: the latest."""
    splits: dict[str, float] = field(
        default_factory=lambda: {"train": 0.8, "val": 0.1, "test": 0.1}
    )
    """Share of each split, adding up to one, for images that come without a
    split.  Without "test", "val" is the split that models are evaluated on."""
    max_quarantine_fraction: float = 0.05
    """The run fails when more than this fraction of the images is unusable."""
    max_pixels: int = MAX_PIXELS
    """Larger images (width × height) are quarantined undecoded."""
    follow_symlinks: bool = True
    """Whether symbolic links in an image folder are followed."""

    def __post_init__(self) -> None:
        require(bool(self.path.strip()), "path: expected a folder or file of images, got ''.")
        for name in ("span", "version"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"{name}: expected 0 or more, got {value!r}.")
        require(
            0 <= self.max_quarantine_fraction <= 1,
            f"max_quarantine_fraction: expected 0 to 1, got {self.max_quarantine_fraction!r}.",
        )
        require(self.max_pixels >= 1, f"max_pixels: expected 1 or more, got {self.max_pixels!r}.")
        for name, share in self.splits.items():
            require(name in SPLITS, f"splits: unknown split {name!r}.{nearest(name, SPLITS)}")
            require(
                0 < share < 1, f"splits.{name}: expected more than 0, less than 1, got {share!r}."
            )
        for name in ("train", "val"):
            require(name in self.splits, f"splits: {name!r} is missing, got {self.splits!r}.")
        total = math.fsum(self.splits.values())
        require(abs(total - 1) < 1e-6, f"splits: expected shares adding up to 1, got {total:g}.")

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that ingestion writes, in order."""
        return tuple(name for name in SPLITS if name in self.splits)


def evaluation_split(config: DataConfig) -> str:
    """The split that the Evaluator judges models on."""
    return config.split_names[-1]


def to_json(config: DataConfig) -> str:
    return json.dumps(strict.dump(config), sort_keys=True)


def from_json(text: str) -> DataConfig:
    return strict.parse(DataConfig, json.loads(text), "data.")
