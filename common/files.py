"""Files that are either whole or not there, and digests of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash, never sees half of it."""
    with atomic_file(path) as f:
        f.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yields a file to write to, which takes its name when all is written and nothing was raised.

    Only its owner can write to it, whatever the umask: who may replace it is the folder's.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb", opener=lambda p, flags: os.open(p, flags, 0o644)) as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    write_atomic(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def sync_directory(path: Path) -> None:
    """Makes renames inside a directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def walk_files(root: Path) -> Iterator[Path]:
    """Yields every file below `root`, in the order of their relative paths."""
    files = [Path(d) / n for d, _, names in os.walk(root) for n in names]
    yield from sorted(files, key=lambda p: p.relative_to(root).as_posix())


def sha256_file(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def checksums(root: Path) -> dict[str, str]:
    """Returns the sha256 (hex) of every file below `root`, by relative path."""
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in walk_files(root)}


def digest(value: Any) -> str:
    """Returns the sha256 (hex) of a JSON-like value, independent of the order of keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def tree_digest(root: Path) -> str:
    """Returns one digest for a whole tree: of its relative paths and contents."""
    return digest(checksums(root))
