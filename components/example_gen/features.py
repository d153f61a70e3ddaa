"""Feature names of the raw example (a `tf.Example`), the contract of docs/data.md."""

from __future__ import annotations

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

SPLITS = ("train", "val", "test")
