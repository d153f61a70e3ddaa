"""A sample of what is asked and answered, to be fed back and checked for drift.

Images are normalised, as the model saw them; those that came as pixels are written as
PNG.  What the model said is beside them, under `served/`.  Nobody knows the label, so
there is none.

One thread writes.  Requests only leave their images with it, and go on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.images.pixels import to_png
from modelstore.raw_example import SERVED
from serving.answer import Answer
from serving.config import RequestLogConfig
from serving.logs.record import current
from serving.logs.request_files import RequestFile, prepare, remove_oldest
from serving.models.engines import Inputs

_log = logging.getLogger(__name__)

QUEUE_BYTES = 64 * 2**20
"""Of images that wait to be written; requests that do not fit are left out."""
_MEGABYTE = 10**6


@dataclass(slots=True)
class Counts:
    """Images that were drawn, since the start."""

    logged: int = 0
    """In files that are complete."""
    dropped: int = 0
    """Left out: writing failed, or could not keep up."""


@dataclass(frozen=True, slots=True)
class _Entry:
    images: Inputs
    answer: Answer
    request_id: str
    protocol: str
    milliseconds: int
    """Since 1970."""
    size: int
    """Bytes of the images."""


class RequestLog:
    """Writes a sample of the answered requests.

    Args:
      retry_seconds: how long nothing is written after it failed.

    Raises:
      ConfigError: the folder cannot be written to.
    """

    def __init__(self, config: RequestLogConfig, retry_seconds: float = 10.0) -> None:
        self.counts = Counts()
        self._config = config
        self._folder = Path(config.folder)
        prepare(self._folder)
        self._random = random.Random()
        self._changed = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._waiting = 0
        """Bytes of the queue, and of what is being written."""
        self._closed = False
        self._file: RequestFile | None = None
        self._pending = 0
        """Images in the file, and of the entry that is being written."""
        self._retry_seconds = retry_seconds
        self._retry = 0.0
        """When writing is tried again; 0: it works."""
        self._reported = 0
        """Of the dropped ones, those that the log has a line about."""
        self._thread = threading.Thread(target=self._work, name="request-log", daemon=True)
        self._thread.start()

    def __call__(self, images: Inputs, answer: Answer, request_id: str) -> None:
        """Takes an answered request, which may be drawn; in its task, at once."""
        if self._random.random() >= self._config.sample:
            return
        size = images.nbytes if isinstance(images, np.ndarray) else sum(map(len, images))
        with self._changed:
            if self._closed or self._waiting + size > QUEUE_BYTES:
                self.counts.dropped += len(images)
                return
            now, protocol = time.time_ns() // 10**6, current().protocol
            self._queue.append(_Entry(images, answer, request_id, protocol, now, size))
            self._waiting += size
            self._changed.notify()

    def close(self, seconds: float = 10.0) -> None:
        """Writes what waits; gives up after so long."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _work(self) -> None:
        over = False
        while not over:
            with self._changed:
                while not (self._queue or self._closed or self._seconds_left() == 0):
                    self._changed.wait(self._seconds_left())
                entry = self._queue.popleft() if self._queue else None
                over = entry is None and self._closed
            try:
                if entry is not None:
                    self._write(entry)
                if over or self._seconds_left() == 0:
                    self._complete()
            except Exception as e:  # whatever it is, requests go on
                self._failed(e)
            if entry is not None:
                with self._changed:
                    self._waiting -= entry.size

    def _seconds_left(self) -> float | None:
        """Returns the time until the file has to be completed; None: there is none."""
        if self._file is None:
            return None
        return max(self._file.began + self._config.flush_seconds - time.monotonic(), 0.0)

    def _write(self, entry: _Entry) -> None:
        images = entry.images
        if time.monotonic() < self._retry:
            self._drop(len(images))
            return
        self._pending += len(images)
        came_as = b"pixels" if isinstance(images, np.ndarray) else b"file"
        for image, top in zip(images, entry.answer.top(1), strict=True):
            ((label, score),) = top
            self._file = self._file or RequestFile(self._folder)
            self._file.write(
                to_png(image) if isinstance(image, np.ndarray) else image,
                entry.answer.depth,
                {
                    f"{SERVED}model": entry.answer.name.encode(),
                    f"{SERVED}version": entry.answer.version,
                    f"{SERVED}label": label.encode(),
                    f"{SERVED}score": score,
                    f"{SERVED}came_as": came_as,
                    f"{SERVED}protocol": entry.protocol.encode(),
                    f"{SERVED}request_id": entry.request_id.encode(errors="replace"),
                    f"{SERVED}milliseconds": entry.milliseconds,
                },
            )
            if self._file.size >= self._config.max_file_megabytes * _MEGABYTE:
                self._complete()

    def _complete(self) -> None:
        if self._file is None:
            return
        self._file.complete()
        self.counts.logged += self._file.records
        self._pending -= self._file.records
        self._file = None
        if self._retry:
            self._retry = 0.0
            _log.warning("The request log is written again.")
        if left_out := self.counts.dropped - self._reported:
            self._reported += left_out
            _log.warning("The request log left out %d images that it had no time for.", left_out)
        remove_oldest(self._folder, self._config.max_total_megabytes * _MEGABYTE)

    def _failed(self, error: Exception) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._drop(self._pending)
        self._pending = 0
        if not self._retry:  # told once, until it works again
            _log.error(
                "The request log cannot be written: %s. Requests are answered as before; it is "
                "tried again every %g seconds.", error, self._retry_seconds,
            )  # fmt: skip
        self._retry = time.monotonic() + self._retry_seconds

    def _drop(self, images: int) -> None:
        """Counts what is left out because it cannot be written, which was reported."""
        with self._changed:
            self.counts.dropped += images
            self._reported += images
