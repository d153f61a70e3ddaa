"""The raw example (a `tf.Example`), the contract of docs/data.md: its features, and making one.

Ingestion makes them of labelled images, the server of the requests it logs.
"""

from __future__ import annotations

from collections.abc import Mapping

ENCODED = "image/encoded"
FORMAT = "image/format"
PATH = "image/path"
SHA256 = "image/sha256"
WIDTH = "image/width"
HEIGHT = "image/height"
CHANNELS = "image/channels"
BYTES = "image/bytes"
LABEL = "label"

RESERVED = frozenset({ENCODED, FORMAT, PATH, SHA256, WIDTH, HEIGHT, CHANNELS, BYTES, LABEL})

FORMATS = ("jpeg", "png")
"""Values of `image/format`."""

SERVED = "served/"
"""Begins the names of what a server adds about its answer; ingestion leaves these out."""

TAKEN = ("image/", SERVED)
"""No name of an extra column begins with these."""


def serialise(
    *,
    encoded: bytes,
    format: str,
    path: bytes,
    sha256: str,
    width: int,
    height: int,
    channels: int,
    size: int,
    label: str | None,
    extra: Mapping[str, bytes | int | float],
) -> bytes:
    """Serialises one image as a raw example.

    Args:
      size: bytes of the original file.
      label: None leaves the feature out.
      extra: further features.
    """
    from tensorflow.core.example import example_pb2

    values: dict[str, bytes | int | float] = {
        ENCODED: encoded,
        FORMAT: format.encode(),
        PATH: path,
        SHA256: sha256.encode(),
        WIDTH: width,
        HEIGHT: height,
        CHANNELS: channels,
        BYTES: size,
        **({} if label is None else {LABEL: label.encode()}),
        **extra,
    }
    example = example_pb2.Example()
    feature = example.features.feature
    for name, value in values.items():
        if isinstance(value, bytes):
            feature[name].bytes_list.value.append(value)
        elif isinstance(value, int):
            feature[name].int64_list.value.append(value)
        else:
            feature[name].float_list.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))
