r"""The index of what was ingested: one line per image, sorted, to be searched in place.

    sha256 TAB split TAB label TAB path

The SHA-256 is that of the original file, hexadecimal.  Lines are sorted as bytes.
In a path, backslash, tab, line feed and carriage return are written as `\\`, `\t`,
`\n`, `\r`, and bytes that are not UTF-8 as `\xNN`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from components.example_gen.records import show

IMAGES_FILE = "images.tsv"
SHA256_LENGTH = 64

_ESCAPES = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r"}
"""The backslash first: the others add some."""
_UNESCAPES = {v: k for k, v in _ESCAPES.items()}
_ESCAPED = re.compile(rb"\\x[0-9a-f]{2}|\\[\\tnr]")


@dataclass(frozen=True, slots=True, order=True)
class IndexedImage:
    sha256: str
    """Of the original file, hexadecimal."""
    split: str
    label: str
    path: bytes
    """As in `image/path`."""

    @property
    def shown_path(self) -> str:
        """Returns the path for people and JSON."""
        return show(self.path)


def to_line(image: IndexedImage) -> bytes:
    """Makes one line of the index, without its end."""
    path = image.path
    for original, escaped in _ESCAPES.items():
        path = path.replace(original, escaped)
    # Backslashes are doubled already: what is `\xNN` now was not UTF-8.
    text = path.decode("utf-8", "backslashreplace")
    return "\t".join((image.sha256, image.split, image.label, text)).encode()


def from_line(line: bytes) -> IndexedImage:
    """Reads a line; raises ValueError where it is none."""
    sha256, split, label, path = line.split(b"\t")
    if len(sha256) != SHA256_LENGTH:
        raise ValueError(f"expected a SHA-256, got {sha256!r}")
    return IndexedImage(sha256.decode(), split.decode(), label.decode(), _unescaped(path))


def to_lines(images: Iterable[IndexedImage]) -> bytes:
    """Makes an index of images in any order, or a part of one, by the beginning of the SHA-256."""
    return b"".join(line + b"\n" for line in sorted(map(to_line, images)))


def _unescaped(path: bytes) -> bytes:
    def original(match: re.Match[bytes]) -> bytes:
        text = match.group()
        return bytes.fromhex(text[2:].decode()) if text[1:2] == b"x" else _UNESCAPES[text]

    return _ESCAPED.sub(original, path)
