"""Reading files, and the digests of what is read and of what comes of it.

The fingerprint of a source is known before its images are: it covers every file that is to
be read, its path, what the listing says of it and the SHA-256 of its bytes.  The digest of a
dataset covers every ingested image, its label, the split and extra columns that it came with
and the SHA-256 of its bytes: it is the same whichever files and format they came in.  Neither
depends on any order, on file times or on where the files lie.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.images.errors import BadImage
from common.process.cpus import available_cpus
from components.example_gen import seen
from components.example_gen.records import Record, Shard, Source, batches, show

MAX_FILE_BYTES = 1 << 29
"""A `tf.Example` cannot exceed 2 GiB; no sensible image file is half a GiB."""


class Unreadable(BadImage):
    """A file that cannot be read."""


def read_file(path: bytes) -> tuple[bytes, bytes]:
    """Reads a regular file; returns its content and its stamp; raises Unreadable."""
    file, status = _open(path)
    size = status.st_size
    try:
        if size > MAX_FILE_BYTES:
            raise Unreadable("too-large", f"{size} bytes, at most {MAX_FILE_BYTES}")
        content = os.read(file, size + 1)
        if len(content) != size:  # it grows, or comes in pieces
            with open(file, "rb", closefd=False) as f:
                content += f.read()
        return content, seen.stamp(path, status)
    except OSError as e:
        raise Unreadable("unreadable", e.strerror or str(e)) from None
    finally:
        os.close(file)


def hash_file(path: bytes) -> tuple[str, bytes]:
    """Returns the SHA-256 of a file in hexadecimal, and its stamp; "" where it cannot be read."""
    try:
        file, status = _open(path)
        with open(file, "rb", buffering=0) as f:
            # file_digest sets up a buffer of 256 KiB for each file.
            small = status.st_size < 1 << 20
            content = hashlib.sha256(f.read()) if small else hashlib.file_digest(f, "sha256")
            return content.hexdigest(), seen.stamp(path, status)
    except (Unreadable, OSError):
        return "", b""


def _stamp_of(path: bytes) -> bytes:
    try:
        # Opened: a network file system may answer for one that is not from memory.
        file, status = _open(path)
    except Unreadable:
        return b""
    os.close(file)
    return seen.stamp(path, status)


def _open(path: bytes) -> tuple[int, os.stat_result]:
    """Opens a regular file; raises Unreadable."""
    try:
        # In place of `open`, which costs more than all the rest; a named pipe would wait for ever.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as e:
        _size(path)
        raise Unreadable("unreadable", getattr(e, "strerror", None) or str(e)) from None
    try:
        status = os.fstat(file)
        _regular_size(status)
    except BaseException:
        os.close(file)
        raise
    return file, status


def status_of(path: bytes) -> tuple[int, ...]:
    """Returns what changes with a file; nothing where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


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
        said = _json("", read.split, read.names)
    else:
        said = _json(read.label, read.split, read.extra)
    return _digest(f'[{json.dumps(show(read.path))}, {said}, "{content_sha256}"]')


def image_digest(record: Record, content_sha256: str) -> bytes:
    """Returns 32 bytes that identify an image and what is said of it, wherever it came from."""
    extra = tuple(sorted((name, value) for name, value in record.extra if value))
    return _digest(f'[{_json(record.label, record.split, extra)}, "{content_sha256}"]')


@functools.lru_cache(4096)
def _json(*values: Any) -> str:
    """Returns items of a JSON array; those of many images are the same."""
    return json.dumps(values)[1:-1]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class Digests:
    """Digests of 32 bytes, side by side: as objects those of ten million images take a gigabyte."""

    def __init__(self) -> None:
        self._together = bytearray()

    def add(self, digests: Iterable[bytes]) -> None:
        self._together += b"".join(digests)

    def of_all(self) -> str:
        """Returns the SHA-256 over all, sorted, in hexadecimal."""
        import numpy as np  # a command imports this and digests nothing

        np.frombuffer(self._together, "S32").sort()
        return hashlib.sha256(self._together).hexdigest()


def fingerprint(source: Source, known: seen.Seen | None = None, threads: int | None = None) -> str:
    """Returns what identifies the files of a listed source; reads every one that is not known.

    Args:
      known: is given what is there now, to be written.
    """

    def some(files: list[Record | Shard]) -> tuple[list[bytes], list[bytes]]:
        paths = [source.file(f) for f in files]
        stamps = [_stamp_of(p) for p in paths] if known else [b""] * len(paths)
        contents = known.known(stamps) if known else [""] * len(paths)
        for n, path in enumerate(paths):
            if not contents[n]:
                contents[n], stamps[n] = hash_file(path)
        digests = [file_digest(f, c) for f, c in zip(files, contents, strict=True)]
        return digests, [seen.entry(s, c) for s, c in zip(stamps, contents, strict=True)]

    files: Iterable[Record | Shard] = source.shards or source.records
    all_digests = Digests()
    with ThreadPoolExecutor(threads or 2 * available_cpus()) as pool:
        # As many at a time as keep the threads busy: a pool takes all that it is given.
        for many in batches(batches(files, 64), 256):
            for digests, entries in pool.map(some, many):
                all_digests.add(digests)
                if known:
                    known.keep(entries)
    return all_digests.of_all()
