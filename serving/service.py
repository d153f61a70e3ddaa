"""What every protocol asks: classify these images with that model.

A request takes one walk, whatever its protocol:

    with service.request(name, version, label) as query:  # picks and holds a version
        images = …                                        # the protocol's decode
        answer = await query.answer(images)               # checked, batched and scored
    …                                                     # the protocol's encode
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from common.images.errors import BadImage
from common.images.headers import count_pixels
from serving.answer import Answer
from serving.config import LimitsConfig
from serving.control import Control
from serving.errors import BusyError, DeadlineError, InvalidRequestError, TooLargeError
from serving.logs.access import Access
from serving.logs.record import current
from serving.models.decoding import refusal
from serving.models.engines import Floats, Inputs
from serving.models.loaded import LoadedVersion
from serving.models.readiness import Readiness
from serving.models.repository import Repository
from serving.off_loop import off_loop


@dataclass(frozen=True, slots=True)
class Query:
    """One request for an answer, whatever its protocol; the version that answers is held."""

    loaded: LoadedVersion
    limits: LimitsConfig
    answered: Callable[[Inputs, Answer, str], None]
    time_left: Callable[[], float | None]
    """Seconds in which the client wants its answer; None: the server's own limit."""

    async def answer(self, images: Inputs, request_id: str = "") -> Answer:
        """Answers, on the event loop.

        Args:
          request_id: the one in the message, or else that of the record.

        Raises:
          ServingError: it cannot be answered.
        """
        record = current()
        record.images = len(images)
        left = self.time_left()
        limit = self.limits.timeout_seconds
        deadline = time.monotonic() + (limit if left is None else min(limit, left))
        size = 0 if isinstance(images, np.ndarray) else sum(map(len, images))
        pixels = await off_loop(size, self._check, images)
        future = self.loaded.submit(images, deadline, record.timing, pixels)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                scores_NC: Floats = await asyncio.wrap_future(future)
        except TimeoutError:
            raise DeadlineError("The deadline passed before the answer was there.") from None
        answer = Answer.of(self.loaded, scores_NC)
        self.answered(images, answer, request_id or record.request_id)
        return answer

    def check_count(self, count: int) -> None:
        """Refuses what has no images or too many; before unpacking, which may take long."""
        if count == 0:
            raise InvalidRequestError("Expected at least one image, got none.")
        if count > self.limits.images:
            raise TooLargeError(f"Expected at most {self.limits.images} images, got {count}.")

    def _check(self, images: Inputs) -> list[int]:
        """Refuses images that are too many, too large, or none; from any thread.

        Returns:
          The pixels of each file, by its header.
        """
        self.check_count(len(images))
        if isinstance(images, np.ndarray):
            expected = self.loaded.image_shape
            if images.dtype != np.uint8 or images.shape[1:] != expected:
                raise InvalidRequestError(
                    f"Expected pixels of type uint8 and shape [N, {', '.join(map(str, expected))}],"
                    f" got {images.dtype} {list(images.shape)}."
                )
            return []
        sizes = [self._count_pixels(*numbered) for numbered in enumerate(images)]
        if sum(sizes) > self.limits.request_pixels:
            raise TooLargeError(
                f"Expected images of at most {self.limits.request_pixels:,} pixels together, got "
                f"{sum(sizes):,}."
            )
        return sizes

    def _count_pixels(self, index: int, encoded: bytes) -> int:
        try:
            pixels = count_pixels(encoded, self.limits.pixels)
        except BadImage as e:
            raise refusal(index, encoded, e) from None
        if pixels > self.limits.pixels:
            raise TooLargeError(
                f"Image {index}: expected at most {self.limits.pixels:,} pixels, got {pixels:,}."
            )
        return pixels


class Service:
    """Answers requests on an event loop.

    Args:
      limits: what a request may ask for.
      access: what measures and logs; the repository's observers and events are its.
    """

    def __init__(
        self, repository: Repository, limits: LimitsConfig, access: Access | None = None
    ) -> None:
        self.repository = repository
        self.limits = limits
        self.answered: Callable[[Inputs, Answer, str], None] = lambda images, answer, id: None
        """Told of each request that was answered, in its task; set by who has a request log."""
        self.access = access or Access()
        self.access.metrics.models = repository.models
        self.control = Control(repository, self.access)
        """Closed; who makes the server opens it."""
        self.draining = False
        """Whether the server is going down; what it has is answered all the same."""
        self._admitted = 0
        self._received = 0
        """Bytes of all requests that are received or answered."""

    @property
    def ready(self) -> bool:
        """Returns whether requests should come here."""
        return not self.draining and self.repository.ready

    def readiness(self) -> Readiness:
        """Says what `ready` does, with the reasons."""
        return Readiness("ending") if self.draining else self.repository.readiness()

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """Uses a version as `Repository.use` does; the record of the request learns it."""
        record = current()
        if name in self.repository:
            record.model = name
        with self.repository.use(name, version, label) as loaded:
            record.version = loaded.version
            yield loaded

    @contextmanager
    def request(
        self,
        name: str,
        version: int | None = None,
        label: str | None = None,
        time_left: Callable[[], float | None] = lambda: None,
    ) -> Iterator[Query]:
        """Begins a request that is admitted: picks its version, and holds it to the end.

        Raises:
          UnknownModelError, UnavailableError: see `Repository.use`.
        """
        with self.use(name, version, label) as loaded:
            yield Query(loaded, self.limits, self.answered, time_left)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request; to be entered on one thread.

        Raises:
          BusyError: as many as may are being answered.
        """
        if self._admitted >= self.limits.concurrency:
            raise BusyError(f"{self._admitted} requests are being answered; try again.")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def room(self) -> Iterator[Callable[[int], None]]:
        """Counts what a request takes of `limits.server_body_bytes`; entered on one thread.

        Yields:
          Takes so many bytes more, or raises BusyError where none are left.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._received + size > self.limits.server_body_bytes:
                raise BusyError("Too many large requests are being answered; try again.")
            taken += size
            self._received += size

        try:
            yield take
        finally:
            self._received -= taken
