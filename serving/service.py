"""What every protocol asks: classify these images with that model.

Protocols turn their messages into `Query` and scores into their answers; everything
between is here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from common.images.errors import BadImage
from common.images.headers import count_pixels
from modelstore.tasks import classification
from serving.config import LimitsConfig
from serving.control import Control
from serving.errors import BusyError, InvalidRequestError, TooLargeError
from serving.logs.access import Access, current
from serving.models.decoding import refusal
from serving.models.engines import Floats, Images
from serving.models.loaded import LoadedVersion
from serving.models.readiness import Readiness
from serving.models.repository import Repository

TOP_K = classification.ANSWERS


@dataclass(slots=True, kw_only=True)
class Query:
    """One request, whatever its protocol."""

    model: str
    images: Sequence[bytes] | Images
    """Encoded image files, or pixels, uint8 [N, H, W, 3]."""
    pixels: int = 0
    """Of encoded images, by their headers; set when they are checked."""
    version: int | None = None
    label: str | None = None
    timeout: float | None = None
    """Seconds that are left to answer in; None: the server's own limit."""
    request_id: str = ""
    """The one in the message, or else that of the connection's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    name: str
    version: int
    class_names: tuple[str, ...]
    scores_NC: Floats
    engine: str

    def top(self, k: int = TOP_K) -> list[list[tuple[str, float]]]:
        """The likeliest classes of each image, with their probabilities."""
        return [classification.answer(row, self.class_names, k) for row in self.scores_NC.tolist()]


@dataclass(frozen=True, slots=True)
class Room:
    """Of one request."""

    take: Callable[[int], None]
    """So many bytes more; raises BusyError where there are none left."""


class Service:
    """Answers queries, from any thread or event loop.

    Args:
      limits: what a request may ask for.
      access: what measures and logs; the repository's observers and events are its.
      answered: told of each request that was answered, in its task.
    """

    def __init__(
        self,
        repository: Repository,
        limits: LimitsConfig,
        access: Access | None = None,
        answered: Callable[[Query, Answer], None] = lambda query, answer: None,
    ) -> None:
        self.repository = repository
        self.limits = limits
        self.answered = answered
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
        """Whether requests should come here."""
        return not self.draining and self.repository.ready

    def readiness(self) -> Readiness:
        """As `ready`, with the reasons."""
        return Readiness("ending") if self.draining else self.repository.readiness()

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedVersion]:
        """See `Repository.use`; the record of the request learns what is used."""
        record = current()
        if name in self.repository:
            record.model = name
        with self.repository.use(name, version, label) as loaded:
            record.version = loaded.version
            yield loaded

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
    def room(self) -> Iterator[Room]:
        """What a request takes of `limits.server_body_bytes`; to be entered on one thread."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if self._received + size > self.limits.server_body_bytes:
                raise BusyError("Too many large requests are being answered; try again.")
            taken += size
            self._received += size

        try:
            yield Room(take)
        finally:
            self._received -= taken

    @contextmanager
    def using(self, query: Query) -> Iterator[tuple[LoadedVersion, float]]:
        """The version a query is for, and the deadline.

        Raises:
          ServingError: it cannot be answered.
        """
        timeout = self.limits.timeout_seconds
        if query.timeout is not None:
            timeout = min(timeout, query.timeout)
        record = current()
        record.images = len(query.images)
        query.request_id = query.request_id or record.request_id
        with self.use(query.model, query.version, query.label) as loaded:
            yield loaded, time.monotonic() + timeout

    def check_count(self, count: int) -> None:
        """Refuses what has no images or too many; before they are unpacked, since that
        may take long."""
        if count == 0:
            raise InvalidRequestError("Expected at least one image, got none.")
        if count > self.limits.images:
            raise TooLargeError(f"Expected at most {self.limits.images} images, got {count}.")

    def answer(self, loaded: LoadedVersion, scores_NC: Floats) -> Answer:
        return Answer(
            name=loaded.name,
            version=loaded.version,
            class_names=loaded.card.class_names,
            scores_NC=scores_NC,
            engine=loaded.loading.engine,
        )

    def check(self, query: Query, loaded: LoadedVersion) -> None:
        """Refuses images that are too many, too large, or none; from any thread.

        Raises:
          ServingError: why.
        """
        self.check_count(len(query.images))
        if isinstance(query.images, np.ndarray):
            expected = loaded.image_shape
            if query.images.dtype != np.uint8 or query.images.shape[1:] != expected:
                raise InvalidRequestError(
                    f"Expected pixels of type uint8 and shape [N, {', '.join(map(str, expected))}],"
                    f" got {query.images.dtype} {list(query.images.shape)}."
                )
            return
        total = 0
        for index, encoded in enumerate(query.images):
            try:
                pixels = count_pixels(encoded, self.limits.pixels)
            except BadImage as e:
                raise refusal(index, encoded, e) from None
            if pixels > self.limits.pixels:
                raise TooLargeError(
                    f"Image {index}: expected at most {self.limits.pixels:,} pixels, got "
                    f"{pixels:,}."
                )
            total += pixels
        if total > self.limits.request_pixels:
            raise TooLargeError(
                f"Expected images of at most {self.limits.request_pixels:,} pixels together, got "
                f"{total:,}."
            )
        query.pixels = total
