"""Reading an image and checking it, as ingestion does and as a look at the data does; no Beam."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from common.images.errors import BadImage
from common.images.pixels import CheckedImage, check_image
from components.example_gen import digest
from components.example_gen.records import Note, Quarantined, Record

S = TypeVar("S")
T = TypeVar("T")
Use = Callable[[Record, bytes, str], T]
"""Makes something of a record, its file's bytes and their SHA-256; raises BadImage."""


def read_record(base: bytes, record: Record, use: Use[T]) -> tuple[bytes, Quarantined | T]:
    """Returns a record's digest, and what became of its file."""
    file = os.path.join(base, record.path)
    try:
        data = digest.read_file(file)
    except digest.Unreadable as e:
        sha256 = digest.hash_file(file)
        return digest.record_digest(record, sha256), quarantine(record, e)
    sha256 = hashlib.sha256(data).hexdigest()
    record_digest = digest.record_digest(record, sha256)
    try:
        return record_digest, use(record, data, sha256)
    except BadImage as e:
        return record_digest, quarantine(record, e)


def quarantine(record: Record, e: BadImage) -> Quarantined:
    return Quarantined(path=record.path, label=record.label, reason=e.reason, detail=e.detail)


def note_of(record: Record, data: bytes, sha256: str, max_pixels: int) -> tuple[Note, CheckedImage]:
    """Checks an image and makes a note of it; raises BadImage."""
    image = check_image(data, max_pixels=max_pixels)
    note = Note(
        path=record.path,
        label=record.label,
        given_split=record.split,
        sha256=sha256,
        format=image.format,
        normalised=image.normalised,
        width=image.width,
        height=image.height,
        size=len(data),
    )
    return note, image


def in_order(
    pool: ThreadPoolExecutor, threads: int, work: Callable[[S], T], parts: Iterable[S]
) -> Iterator[T]:
    """Yields what work makes of each part, in order; few of them are held at a time."""
    waiting: deque[Future[T]] = deque()
    for part in parts:
        waiting.append(pool.submit(work, part))
        if len(waiting) > threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
