"""Reading files, and the digests of what is read and of what comes of it.

The fingerprint of a source is known before its images are: it covers every file that is to
be read, its path, what the listing says of it and the SHA-256 of its bytes.  The digest of a
dataset covers every ingested image, its label, the split and extra columns that it came with
and the SHA-256 of its bytes: it is the same whichever files and format they came in.  Neither
depends on any order, on file times or on where the files lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from common.images.errors import BadImage
from common.process.cpus import available_cpus
from components.example_gen.records import Record, Shard, Source, batches, show

MAX_FILE_BYTES = 1 << 29
"""A `tf.Example` cannot exceed 2 GiB; no sensible image file is half a GiB."""


class Unreadable(BadImage):
    """A file that cannot be read."""


def read_file(path: bytes) -> bytes:
    """Reads a regular file; raises Unreadable."""
    # In place of `open`, which costs as much as decoding a small image.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no wait for a pipe
    except (OSError, ValueError) as e:
        _size(path)
        raise Unreadable("unreadable", getattr(e, "strerror", None) or str(e)) from None
    try:
        size = _regular_size(os.fstat(file))
        if size > MAX_FILE_BYTES:
            raise Unreadable("too-large", f"{size} bytes, at most {MAX_FILE_BYTES}")
        content = os.read(file, size + 1)
        if len(content) != size:  # it grows, or comes in pieces
            with open(file, "rb", closefd=False) as f:
                content += f.read()
        return content
    except OSError as e:
        raise Unreadable("unreadable", e.strerror or str(e)) from None
    finally:
        os.close(file)


def hash_file(path: bytes) -> str:
    """Returns the SHA-256 of a file in hexadecimal, or "" where it cannot be read."""
    try:
        small = _size(path) < 1 << 20
        with open(path, "rb", buffering=0) as f:
            # file_digest sets up a buffer of 256 KiB for each file.
            content = hashlib.sha256(f.read()) if small else hashlib.file_digest(f, "sha256")
            return content.hexdigest()
    except (Unreadable, OSError):
        return ""


def size_of(path: bytes) -> int:
    """Returns the bytes of a file, 0 where there is none that can be read."""
    try:
        return _size(path)
    except Unreadable:
        return 0


def _size(path: bytes) -> int:
    # Looked at before opening: opening a named pipe would wait for ever.
    try:
        status = os.stat(path)
    except FileNotFoundError:
        dangling = os.path.islink(path)
        raise Unreadable("missing", "dangling symbolic link" if dangling else "") from None
    except (OSError, ValueError) as e:
        raise Unreadable("unreadable", getattr(e, "strerror", None) or str(e)) from None
    return _regular_size(status)


def _regular_size(status: os.stat_result) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("directory")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not-a-file", "a pipe, socket or device")
    return status.st_size


def file_digest(read: Record | Shard, content_sha256: str) -> bytes:
    """Returns 32 bytes that identify a file that is read, and what the listing says of it."""
    if isinstance(read, Shard):
        said: list[Any] = ["", read.split, read.names]
    else:
        said = [read.label, read.split, read.extra]
    return _digest(show(read.path), *said, content_sha256)


def image_digest(record: Record, content_sha256: str) -> bytes:
    """Returns 32 bytes that identify an image and what is said of it, wherever it came from."""
    extra = sorted((name, value) for name, value in record.extra if value)
    return _digest(record.label, record.split, extra, content_sha256)


def _digest(*values: Any) -> bytes:
    return hashlib.sha256(json.dumps(values).encode()).digest()


class Digests:
    """Digests of 32 bytes, side by side: as objects those of ten million images take a gigabyte."""

    def __init__(self) -> None:
        self._together = bytearray()

    def add(self, digests: Iterable[bytes]) -> None:
        self._together += b"".join(digests)

    def of_all(self) -> str:
        """Returns the SHA-256 over all, sorted, in hexadecimal."""
        np.frombuffer(self._together, "S32").sort()
        return hashlib.sha256(self._together).hexdigest()


def fingerprint(source: Source, threads: int | None = None) -> str:
    """Returns what identifies the files of a listed source; reads every one."""

    def some(files: list[Record | Shard]) -> list[bytes]:
        return [file_digest(f, hash_file(source.file(f))) for f in files]

    files: Iterable[Record | Shard] = source.shards or source.records
    digests = Digests()
    with ThreadPoolExecutor(threads or 2 * available_cpus()) as pool:
        # As many at a time as keep the threads busy: the results of a pool wait in memory.
        for many in batches(batches(files, 64), 256):
            for found in pool.map(some, many):
                digests.add(found)
    return digests.of_all()
