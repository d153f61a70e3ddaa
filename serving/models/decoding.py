"""From image files to the pixels that the model was trained on, and what is said of the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from common.errors import ServingError
from common.images.errors import BadImage
from common.images.pixels import FORMATS, check_image, normalise
from serving.errors import InvalidRequestError, TooLargeError
from serving.models.engines import Images

_BASE64 = re.compile(rb"(?:data:image/[^,]{1,80},)?[A-Za-z0-9+/_-]{40}")


class Decoder:
    """Decodes as ingestion does, so that files of every kind get the pixels of training.

    Args:
      graph: plain JPEGs and PNGs to uint8 [N, H, W, 3], by the model's transform graph;
        raises InvalidRequestError.
      max_pixels: of one image.
      depth: of the model's `ModelCard`.
    """

    def __init__(
        self, graph: Callable[[Sequence[bytes]], Images], max_pixels: int, depth: int
    ) -> None:
        self._graph = graph
        self._max_pixels = max_pixels
        self._depth = depth

    def __call__(self, encoded: Sequence[bytes], first: int = 0) -> Images:
        """Decodes image files to uint8 [N, H, W, 3].

        Args:
          first: the place of the first one in its request.

        Raises:
          InvalidRequestError, TooLargeError: one of them cannot be decoded, or is too large;
            it is named by its index.
        """
        files = []
        for index, data in enumerate(encoded, first):
            try:
                image = normalise(data, max_pixels=self._max_pixels, depth=self._depth)
                files.append(image.encoded)
            except BadImage as e:
                raise refusal(index, data, e) from None
        try:
            return self._graph(files)
        except InvalidRequestError:
            return np.concatenate([self._alone(*f) for f in enumerate(files, first)])

    def _alone(self, index: int, data: bytes) -> Images:
        """Decodes one file of a batch that the graph refuses, as ingestion would write it."""
        try:
            return self._graph([data])
        except InvalidRequestError:
            try:
                image = check_image(data, max_pixels=self._max_pixels, depth=self._depth)
                return self._graph([image.encoded])
            except BadImage as e:
                raise refusal(index, data, e) from None
            except InvalidRequestError:
                raise refusal(index, data, BadImage("undecodable", "by TensorFlow")) from None


def refusal(index: int, data: bytes, error: BadImage) -> ServingError:
    """Returns what a client is told of an image that cannot be used."""
    if error.reason == "too-large":
        return TooLargeError(f"Image {index}: {error.detail}.")
    if error.reason == "truncated":
        return InvalidRequestError(
            f"Image {index}: the image file is cut off: {len(data):,} bytes are there "
            f"({error.detail})."
        )
    if error.reason in ("empty", "not-an-image", "heic"):
        return InvalidRequestError(
            f"Image {index}: expected a file of {FORMATS}, got {_instead(data, error)}."
        )
    return InvalidRequestError(
        f"Image {index}: the image file cannot be used: {error.reason} ({error.detail})."
    )


def _instead(data: bytes, error: BadImage) -> str:
    if not data:
        return "0 bytes that are none: it is empty"
    if error.reason == "heic":
        return "a HEIC photo, which this server does not read: convert it to JPEG"
    if _BASE64.match(data):
        return "a text in base64: send the file's own bytes, or encode them once and not twice"
    if error.detail.startswith(("a ", "an ")):
        return error.detail
    return f"{len(data)} bytes that are none"
