"""A few small pictures of every class, kept while images are read; whole images are not.

Which ones are drawn by a hash of the seed and the image's content: in whatever order images
come, the same are drawn, and copies of one image are one.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import defaultdict
from dataclasses import dataclass, field

from PIL import Image

SIDE = 128
"""Of a thumbnail's longer side, in pixels, at most."""


@dataclass(frozen=True, slots=True, order=True)
class Thumbnail:
    """A small JPEG of an image as a model sees it."""

    draw: str
    """Those with the lowest are kept."""
    path: bytes = field(compare=False)
    sha256: str = field(compare=False)
    width: int = field(compare=False)
    height: int = field(compare=False)
    """Of the image."""
    jpeg: bytes = field(compare=False)


class Thumbnails:
    """Keeps thumbnails of each class; may be used by several threads.

    Args:
      per_class: at most so many of a class.
      total: of all classes together at most so many, but one of each in any case.
    """

    def __init__(self, *, seed: int = 0, per_class: int = 24, total: int = 2000) -> None:
        self._seed = seed
        self._per_class = per_class
        self._total = total
        self._kept: dict[str, list[Thumbnail]] = defaultdict(list)
        self._lock = threading.Lock()

    def offer(self, label: str, path: bytes, sha256: str, encoded: bytes) -> None:
        """Draws an image, if it is among those to keep so far.

        Args:
          encoded: the upright, opaque JPEG or PNG that ingestion makes of the file.
        """
        draw = hashlib.sha256(f"{self._seed} {sha256}".encode()).hexdigest()
        with self._lock:
            kept = self._kept[label]
            if len(kept) >= self._limit() and draw > kept[-1].draw:
                return
        made = _thumbnail(draw, path, sha256, encoded)
        with self._lock:
            # Of equal contents the first path, whichever thread was faster.
            others = [t for t in kept if t.draw != draw or t.path < path]
            if not any(t.draw == draw for t in others):
                others.append(made)
            kept[:] = sorted(others)[: self._limit()]

    def by_class(self) -> dict[str, list[Thumbnail]]:
        """Returns what was kept, in the order of the draw; classes by name."""
        with self._lock:
            limit = self._limit()
            return {label: kept[:limit] for label, kept in sorted(self._kept.items()) if kept}

    def _limit(self) -> int:
        """Sinks as classes appear; what it lets through now is among what it let through."""
        return max(1, min(self._per_class, self._total // max(1, len(self._kept))))


def _thumbnail(draw: str, path: bytes, sha256: str, encoded: bytes) -> Thumbnail:
    out = io.BytesIO()
    with Image.open(io.BytesIO(encoded), formats=["JPEG", "PNG"]) as image:
        width, height = image.size
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.save(out, "JPEG", quality=85, subsampling=0)
    return Thumbnail(draw, path, sha256, width, height, out.getvalue())
