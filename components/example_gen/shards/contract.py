"""What the module of a format does with a shard."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from common.images.errors import BadImage
from components.example_gen.config import Columns
from components.example_gen.records import Record, Shard

Image = tuple[Record, bytes | BadImage]
"""An image that a shard holds and its encoded bytes, or why there are none."""


class Format(Protocol):
    """A module that reads one format."""

    def check(self, file: str, shard: Shard, columns: Columns) -> None:
        """Raises DataError for what can be seen to be wrong without reading the images."""

    def read(self, file: str, shard: Shard, columns: Columns) -> Generator[Image]:
        """Yields the images of a file, few of them in memory; raises DataError."""
        ...
