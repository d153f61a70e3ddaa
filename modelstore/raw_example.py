"""The raw example (a `tf.Example`), the contract of docs/data.md: its features, and making one.

Ingestion makes them of labelled images, the server of the requests it logs.  They are written
without TensorFlow, which takes seconds to import.
"""

from __future__ import annotations

import functools
import struct
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

_MOST = (1 << 64) - 1
_SHORT = 32
"""Values of fewer bytes, such as classes, come again and are kept as they are written."""


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
    parts: list[bytes] = []
    for name, value in sorted(values.items()):
        # Of floats 0 and -0 are equal.
        repeats = len(value) < _SHORT if isinstance(value, bytes) else isinstance(value, int)
        parts += (_known if repeats else _entry)(name, value)
    return b"".join([b"\n", _varint(sum(map(len, parts))), *parts])


def _entry(name: str, value: bytes | int | float) -> tuple[bytes, bytes]:
    """Writes one item of the map of features, a list of one value: what precedes it, and it."""
    if isinstance(value, bytes):
        kind, last = b"\n", value
        before = b"\n" + _varint(len(value))
    else:
        before = b""
        # Of negative integers the complement.
        kind = b"\x1a" if isinstance(value, int) else b"\x12"
        packed = _varint(value & _MOST) if isinstance(value, int) else struct.pack("<f", value)
        last = b"\n" + _varint(len(packed)) + packed
    before = kind + _varint(len(before) + len(last)) + before
    before = _key(name) + b"\x12" + _varint(len(before) + len(last)) + before
    return b"\n" + _varint(len(before) + len(last)) + before, last


_known = functools.lru_cache(4096, typed=True)(_entry)


@functools.lru_cache(1024)
def _key(name: str) -> bytes:
    encoded = name.encode()
    return b"\n" + _varint(len(encoded)) + encoded


@functools.lru_cache(4096)
def _varint(value: int) -> bytes:
    """Writes a number as Protocol Buffers do: seven bits a byte, the lowest first."""
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
