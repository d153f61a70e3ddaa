"""Where images become pixels: within a budget of the whole server, in fair shares.

Small images are decoded on the thread of the version that asked.  Large ones go through
here: a few at a time, no more than may be in memory together, and in turns between the
versions, so that nobody's photographs hold up another model.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from common.errors import ServingError
from serving.config import LimitsConfig
from serving.errors import BusyError, InvalidRequestError, TooLargeError
from serving.memory import give_back
from serving.models.engines import Floats, Images, Inputs

Decode = Callable[[Sequence[bytes], int], Images]
"""Of files, and the place of the first one in its request."""

SMALL = 1 << 20
"""Pixels that a version decodes by itself at a time, outside of the budget."""
_LOOK_SECONDS = 0.1


@dataclass(slots=True)
class Timing:
    """Where one request's time went, in seconds; complete when its future is done."""

    queued: float = 0.0
    """Until its batch was begun."""
    model: float = 0.0
    """Of its whole batch: decoding, and the calls of the model; not the wait between them."""


@dataclass(slots=True)
class Work:
    """One request's images, encoded or as pixels."""

    images: Inputs
    deadline: float
    """On `time.monotonic`'s clock."""
    pixels: Sequence[int] = ()
    """Of each encoded image, before it is resized."""
    arrived: float = field(default_factory=time.monotonic)
    future: Future[Floats] = field(default_factory=Future)
    """The scores [N, C] of its images."""
    timing: Timing = field(default_factory=Timing)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def all_pixels(self) -> int:
        return sum(self.pixels)


@dataclass(slots=True, eq=False)
class _Large:
    encoded: bytes
    index: int
    pixels: int
    decode: Decode
    until: float
    """On `time.monotonic`'s clock: it is begun before, or refused."""
    future: Future[Images] = field(default_factory=Future)


class Decoding:
    """What decodes for all versions of a server.

    Args:
      threads: large images at a time.
    """

    def __init__(self, limits: LimitsConfig, threads: int) -> None:
        self.limits = limits
        self._threads = threads
        self._running = 0
        """Threads that were started."""
        self._pixels = 0
        """Of the large images that are being decoded."""
        self._turns: dict[object, deque[_Large]] = {}
        """What waits, by who asked; the first one is next."""
        self._changed = threading.Condition()

    def decode(self, works: Sequence[Work], decode: Decode) -> list[Images | ServingError]:
        """Decodes each request's image files to uint8 [N, H, W, 3], or refuses them.

        Args:
          decode: of the version that asks; raises InvalidRequestError or TooLargeError.
        """
        owner, late = object(), time.monotonic() + self.limits.wait_seconds
        answers: list[list[Images | ServingError | Future[Images]]] = [[] for _ in works]
        small: list[tuple[int, int, bytes]] = []
        sizes: list[int] = []
        for number, work in enumerate(works):
            sized = zip(work.images, work.pixels, strict=True)
            for index, (encoded, pixels) in enumerate(sized):
                if pixels > SMALL:
                    until = min(late, work.deadline)
                    large = _Large(encoded, index, pixels, decode, until)
                    self._put(owner, large)
                    answers[number].append(large.future)
                else:
                    answers[number].append(_UNDECODED)
                    small.append((number, index, encoded))
                    sizes.append(pixels)
        for part in _parts(sizes):
            images = _each(small[part], decode)
            for (number, index, _), image in zip(small[part], images, strict=True):
                answers[number][index] = image
        return [_together(images) for images in answers]

    def _put(self, owner: object, large: _Large) -> None:
        with self._changed:
            self._turns.setdefault(owner, deque()).append(large)
            if self._running < self._threads:
                self._running += 1
                name = f"decoder-{self._running}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            large = self._next()
            try:
                large.future.set_result(large.decode([large.encoded], large.index))
            except BaseException as e:  # told to who waits for it
                large.future.set_exception(e)
            with self._changed:
                self._pixels -= large.pixels
                idle = not self._pixels and not self._turns
                self._changed.notify_all()
            del large
            if idle:
                give_back()

    def _next(self) -> _Large:
        """Waits for the image whose turn it is, once there is room for it."""
        with self._changed:
            while True:
                self._refuse_late()
                owner = next(iter(self._turns), None)
                if owner is None:
                    self._changed.wait()
                    continue
                images = self._turns[owner]
                # Nobody overtakes it, or a large one would wait for ever.
                if self._pixels and self._pixels + images[0].pixels > self.limits.decoding_pixels:
                    self._changed.wait(_LOOK_SECONDS)
                    continue
                large = images.popleft()
                del self._turns[owner]
                if images:
                    self._turns[owner] = images  # behind the others
                self._pixels += large.pixels
                return large

    def _refuse_late(self) -> None:
        now = time.monotonic()
        for owner, images in list(self._turns.items()):
            while images and images[0].until <= now:
                images.popleft().future.set_exception(
                    BusyError("Too many large images are being decoded; try again.")
                )
            if not images:
                del self._turns[owner]


_UNDECODED = ServingError("An image was not decoded.")


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Yields neighbours that are decoded together."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > SMALL:
            yield slice(start, index)
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def _each(small: Sequence[tuple[int, int, bytes]], decode: Decode) -> list[Images | ServingError]:
    """Returns every image [1, H, W, 3], or why there is none."""
    try:
        images = decode([encoded for _, _, encoded in small], small[0][1])
    except (InvalidRequestError, TooLargeError) as e:
        if len(small) == 1:
            return [e]
        return [image for one in small for image in _each([one], decode)]
    return [images[i : i + 1] for i in range(len(small))]


def _together(answers: Sequence[Images | ServingError | Future[Images]]) -> Images | ServingError:
    images = []
    refusal: ServingError | None = None
    for image in answers:
        try:
            image = image.result() if isinstance(image, Future) else image
        except ServingError as e:
            image = e
        if isinstance(image, ServingError):
            refusal = refusal or image
        else:
            images.append(image)
    return refusal or np.concatenate(images)
