"""Reading files, and the digest that identifies a dataset by its content.

The digest covers every record's path, label, split, extra columns and the
SHA-256 of its bytes, in any order; file times and where the folder lies do
not matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from common.images.errors import BadImage
from common.process.cpus import available_cpus
from components.example_gen.records import Record, Source, batches, show

MAX_FILE_BYTES = 1 << 29
"""A `tf.Example` cannot exceed 2 GiB; no sensible image file is half a GiB."""


class Unreadable(BadImage):
    """A file that cannot be read."""


def read_file(path: bytes) -> bytes:
    """Reads a regular file; raises Unreadable."""
    size = _size(path)
    if size > MAX_FILE_BYTES:
        raise Unreadable("too-large", f"{size} bytes, at most {MAX_FILE_BYTES}")
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise Unreadable("unreadable", e.strerror or str(e)) from None


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
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("directory")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not-a-file", "a pipe, socket or device")
    return status.st_size


def record_digest(record: Record, content_sha256: str) -> bytes:
    """Returns 32 bytes that identify one record of a dataset."""
    fields = [show(record.path), record.label, record.split, record.extra, content_sha256]
    return hashlib.sha256(json.dumps(fields).encode()).digest()


def dataset_digest(record_digests: Iterable[bytes]) -> str:
    """Returns the SHA-256 over the sorted record digests, in hexadecimal."""
    return hashlib.sha256(b"".join(sorted(record_digests))).hexdigest()


def digest_source(source: Source, threads: int | None = None) -> str:
    """Returns the digest of a listed source; reads every file."""

    def some(records: list[Record]) -> list[bytes]:
        return [record_digest(r, hash_file(source.file(r))) for r in records]

    with ThreadPoolExecutor(threads or 2 * available_cpus()) as pool:
        return dataset_digest(chain.from_iterable(pool.map(some, batches(source.records, 64))))
