"""Dynamic micro-batching: what waits is run together.

While the model works, the next batch gathers and is decoded; each takes as many requests
as fit.  An image that cannot be decoded is refused alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from common.errors import ServingError
from serving.config import BatchingConfig, LimitsConfig
from serving.errors import BusyError, DeadlineError, TooLargeError, UnavailableError
from serving.models.engines import Floats, Images, Inputs
from serving.models.shares import Decode, Decoding, Timing, Work

Run = Callable[[Images], Floats]


@dataclass(slots=True)
class Observer:
    """What a batcher tells whoever measures it."""

    queued: Callable[[int], None] = lambda images: None
    """Images that wait now."""
    waited: Callable[[float], None] = lambda seconds: None
    """How long a request did, whose batch is begun."""
    ran: Callable[[int, float], None] = lambda images, seconds: None
    """Images of a call of the model, without padding, and how long it took."""


class Batcher:
    """One model version's queue and worker thread.

    Args:
      decode: image files to pixels; raises InvalidRequestError or TooLargeError.
      run: pixels to scores, for any batch size up to `config.max_batch`.
      pads: run gets the sizes of `config.buckets` alone.
      decoding: where large images are decoded; that of the server.
    """

    def __init__(
        self,
        decode: Decode,
        run: Run,
        config: BatchingConfig,
        observer: Observer | None = None,
        pads: bool = True,
        name: str = "model",
        decoding: Decoding | None = None,
    ) -> None:
        self._decode = decode
        self._run = run
        self._config = config
        self._observer = observer or Observer()
        self._pads = pads
        self._decoding = decoding or Decoding(LimitsConfig(), 1)
        self._queue: deque[Work] = deque()
        self._waiting = 0
        self._waiting_pixels = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"batcher-{name}", daemon=True)
        self._thread.start()

    def submit(
        self,
        images: Inputs,
        deadline: float,
        timing: Timing | None = None,
        pixels: Sequence[int] = (),
    ) -> Future[Floats]:
        """Queues images; cancelling the future takes them out again.

        Args:
          pixels: of each encoded image, before it is resized.
          timing: is filled in.

        Raises:
          BusyError: the queue is full.
          TooLargeError: they would not fit into an empty one.
          UnavailableError: it is closed.
        """
        work = Work(images, deadline, pixels, timing=timing or Timing())
        most_pixels = self._decoding.limits.queue_pixels
        if len(work) > self._config.queue:
            raise TooLargeError(
                f"Expected at most {self._config.queue} images in a request, got {len(work)}."
            )
        with self._changed:
            if self._closed:
                raise UnavailableError("This version is being unloaded; try again.")
            if self._waiting + len(work) > self._config.queue:
                raise BusyError(
                    f"{self._waiting} images are waiting, and the queue holds "
                    f"{self._config.queue}; try again."
                )
            if self._waiting_pixels + work.all_pixels > most_pixels:
                raise BusyError(
                    f"Images of {self._waiting_pixels:,} pixels are waiting, and the queue holds "
                    f"{most_pixels:,}; try again."
                )
            self._queue.append(work)
            self._waiting += len(work)
            self._waiting_pixels += work.all_pixels
            self._observer.queued(self._waiting)
            self._changed.notify()
        return work.future

    def close(self) -> None:
        """Finishes what waits, then stops."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        running: Future[None] | None = None
        with ThreadPoolExecutor(1, f"{self._thread.name}-model") as model:
            while batch := self._next():
                with _nobody_waits_in_vain(batch):
                    began = time.perf_counter()
                    decoded = self._decoded(batch)
                    took = time.perf_counter() - began
                    # At most one batch is ahead of the model, so that those after it gather.
                    if running is not None:
                        running.result()
                    running = model.submit(self._serve, decoded, took) if decoded else None

    def _next(self) -> list[Work]:
        """Waits for the next works, in order, that can be run together; none when closed."""
        with self._changed:
            while True:
                while not self._queue:
                    if self._closed:
                        return []
                    self._changed.wait()
                until = self._queue[0].arrived + self._config.max_delay_ms / 1000
                while self._waiting < self._config.max_batch and not self._closed:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                batch = self._take()
                if batch:
                    return batch

    def _take(self) -> list[Work]:
        batch: list[Work] = []
        count = pixels = 0
        now = time.monotonic()
        while self._queue and (not batch or self._fits(self._queue[0], count, pixels)):
            work = self._queue.popleft()
            self._waiting -= len(work)
            self._waiting_pixels -= work.all_pixels
            if not work.future.set_running_or_notify_cancel():
                continue
            work.timing.queued = now - work.arrived
            self._observer.waited(work.timing.queued)
            if work.deadline <= now:
                work.future.set_exception(
                    DeadlineError("The deadline passed while the request was waiting.")
                )
                continue
            batch.append(work)
            count += len(work)
            pixels += work.all_pixels
        self._observer.queued(self._waiting)
        return batch

    def _fits(self, work: Work, count: int, pixels: int) -> bool:
        """Returns whether it can be run together with so much."""
        fits = pixels + work.all_pixels <= self._decoding.limits.decoding_pixels
        return fits and count + len(work) <= self._config.max_batch

    def _serve(self, decoded: list[tuple[Work, Images]], decoding: float) -> None:
        """Scores what took `decoding` seconds to decode."""
        with _nobody_waits_in_vain([work for work, _ in decoded]):
            began = time.perf_counter() - decoding
            try:
                scores_NC = self._scores(np.concatenate([images for _, images in decoded]))
            except Exception as e:
                error = ServingError(f"The model failed: {e}")
                for work, _ in decoded:
                    work.timing.model = time.perf_counter() - began
                    work.future.set_exception(error)
                return
            start = 0
            for work, images in decoded:
                work.timing.model = time.perf_counter() - began
                work.future.set_result(scores_NC[start : start + len(images)])
                start += len(images)

    def _decoded(self, batch: list[Work]) -> list[tuple[Work, Images]]:
        """Returns every work with its pixels; those that have none are refused."""
        files = [work for work in batch if not isinstance(work.images, np.ndarray)]
        of_files = iter(self._decoding.decode(files, self._decode) if files else [])
        decoded: list[tuple[Work, Images]] = []
        for work in batch:
            images = work.images if isinstance(work.images, np.ndarray) else next(of_files)
            if isinstance(images, ServingError):
                work.future.set_exception(images)
            else:
                decoded.append((work, images))
        return decoded

    def _scores(self, images_NHW3: Images) -> Floats:
        """Runs the model, in calls of at most max_batch."""
        parts = []
        for start in range(0, len(images_NHW3), self._config.max_batch):
            chunk = images_NHW3[start : start + self._config.max_batch]
            began = time.perf_counter()
            parts.append(self._run(self._padded(chunk))[: len(chunk)])
            self._observer.ran(len(chunk), time.perf_counter() - began)
        return np.concatenate(parts)

    def _padded(self, images_NHW3: Images) -> Images:
        if not self._pads:
            return images_NHW3
        size = next(b for b in self._config.buckets if b >= len(images_NHW3))
        padding = np.zeros((size - len(images_NHW3), *images_NHW3.shape[1:]), np.uint8)
        return np.concatenate([images_NHW3, padding])


@contextlib.contextmanager
def _nobody_waits_in_vain(batch: Sequence[Work]) -> Iterator[None]:
    """Hands an error, which can only be a bug, to whoever has no answer yet."""
    try:
        yield
    except BaseException as e:
        for work in batch:
            if not work.future.done():
                work.future.set_exception(e)
