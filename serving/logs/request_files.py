"""The files of the request log: GZIP TFRecords of raw examples (docs/data.md).

A file has a hidden name until it is complete.  Its writer holds a lock on it until then,
so that a server which starts tells those of others from what a killed one left.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from common.errors import ConfigError
from common.files import sync_directory
from common.images.pixels import normalise
from modelstore.raw_example import SERVED, serialise

_PREFIX, _SUFFIX, _TEMPORARY = "requests-", ".tfrecord.gz", ".tmp"
_MODE = 0o640
"""Images of other people: not for every user of the machine."""


class RequestFile:
    """One file that is being written.

    Raises (as do its methods):
      OSError, tf.errors.OpError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.path = folder / f"{_PREFIX}{now}-{secrets.token_hex(4)}{_SUFFIX}"
        self.began = time.monotonic()
        self.records = 0
        self.size = 0
        """Bytes before they are packed; images hardly get smaller."""
        self._temporary = folder / f".{self.path.name}{_TEMPORARY}"
        opened = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        self._held = os.fdopen(opened, "wb")
        with contextlib.suppress(OSError):  # without locks, nobody else removes it either
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        self._writer = tf.io.TFRecordWriter(str(self._temporary), options)

    def write(self, encoded: bytes, depth: int, answered: dict[str, bytes | int | float]) -> None:
        """Adds an image, normalised as the model saw it.

        Args:
          encoded: the file that was answered, as it came.
          depth: of the model's `ModelCard`.
          answered: further features, what the model said of it.
        """
        # It was answered, so it is not larger.
        image = normalise(encoded, max_pixels=sys.maxsize, depth=depth)
        if image.normalised is not None:
            answered = {**answered, f"{SERVED}normalised": image.normalised.encode()}
        record = serialise(
            encoded=image.encoded,
            format=image.format,
            path=f"{self.path.name}#{self.records}".encode(),
            sha256=hashlib.sha256(encoded).hexdigest(),
            width=image.width,
            height=image.height,
            channels=image.channels,
            size=len(encoded),
            label=None,
            extra=answered,
        )
        self._writer.write(record)
        self.records += 1
        self.size += len(record)

    def complete(self) -> None:
        """Gives it its name, with all that was written on the disk."""
        self._writer.close()
        os.fsync(self._held.fileno())
        os.rename(self._temporary, self.path)
        self._held.close()
        sync_directory(self.path.parent)

    def discard(self) -> None:
        with contextlib.suppress(Exception):  # TensorFlow's, where the disk is full
            self._writer.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()
        with contextlib.suppress(OSError):
            self._held.close()


def prepare(folder: Path) -> None:
    """Makes the folder, and removes what killed servers left in it.

    Raises:
      ConfigError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise ConfigError(
            f"request_log.folder: {folder}: expected a folder to write to: {e.strerror}."
        ) from None
    for left in folder.glob(f".{_PREFIX}*{_TEMPORARY}"):
        with contextlib.suppress(OSError), open(left, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where one writes to it
            left.unlink()


def remove_oldest(folder: Path, most: float) -> None:
    """Leaves the newest of the complete files that take at most so many bytes, and always one."""
    total = 0
    for index, path in enumerate(sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"), reverse=True)):
        with contextlib.suppress(FileNotFoundError):  # somebody else removed it
            total += path.stat().st_size
            if index and total > most:
                path.unlink()
