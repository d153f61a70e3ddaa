"""JSON of any size, a window at a time: limits hold before the memory is spent.

The standard library's parser holds Python's lock until it is through, and makes an object
of everything: a body of 32 MB stops all threads for a second, and takes a gigabyte.  Here
it gets pieces of some tens of kilobytes; long lists of numbers become uint8 arrays at
once, and whoever sends more of anything else than a request can need is refused then.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.errors import InvalidRequestError, TooLargeError
from serving.off_loop import WINDOW
from serving.protocols.numbers import collapsed, to_bytes

MOST = 1 << 16
"""Values besides those of long lists of numbers."""
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_DEPTH = 16
"""Containers within each other that are larger than a window."""
_NUMBERS = b"0123456789+-.eE,[] \t\r\n"
_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[0-9A-Za-z.+-]{1,5000}")
_QUOTES = 10_000
"""Quotes within a string that is larger than a window."""

_STEPS = np.zeros(256, np.int32)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def read_json_object(body: bytes, images: int) -> dict[str, Any]:
    """Reads a JSON object; long lists of numbers, nested or not, become uint8 arrays.

    Args:
      images: that a request may have, for the message.

    Raises:
      InvalidRequestError: it is none, or has a long list of other numbers than pixels.
      TooLargeError: it has more than `MOST` values.
    """
    try:
        if len(body) <= WINDOW:
            value = json.loads(body)
        else:
            if (encoding := json.detect_encoding(body)) != "utf-8":
                body = body.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
            value = _Reader(body, images).read()
    except (ValueError, RecursionError) as e:
        raise InvalidRequestError(f"Expected a JSON object: {_remedy(body) or e}") from None
    if not isinstance(value, dict):
        kind = "list" if isinstance(value, np.ndarray) else type(value).__name__
        raise InvalidRequestError(f"Expected a JSON object, got a {kind}.")
    return value


def _remedy(body: bytes) -> str:
    """Says what to do with what is no JSON at all; "" for what may be meant as such."""
    if body.startswith(b"\x1f\x8b"):
        return "it is packed; say so: Content-Encoding: gzip"
    if body.startswith(_IMAGES):
        return "it is an image file; post it to /predict, or put it into JSON in base64"
    return ""


class _Reader:
    """Raises ValueError for what is no JSON."""

    def __init__(self, body: bytes, images: int) -> None:
        self._body = body
        self._at = 0
        self._images = images
        self._count = 0

    def read(self) -> Any:
        value = self._value(0)
        if self._next():
            raise ValueError(f"Extra data at byte {self._at}")
        return value

    def _next(self) -> bytes:
        """Moves to the next character that is no space, and returns it; b"" at the end."""
        space = _SPACES.match(self._body, self._at)
        self._at = space.end() if space else self._at
        return self._body[self._at : self._at + 1]

    def _value(self, depth: int) -> Any:
        """Reads a value that is larger than a window, or the outermost."""
        character = self._next()
        if depth > _DEPTH:
            raise ValueError(f"More than {_DEPTH} large lists and objects within each other")
        if character == b"[":
            return self._list(depth)
        if character == b"{":
            return self._object(depth)
        if character == b'"':
            return self._string()
        scalar = _SCALAR.match(self._body, self._at)
        if scalar is None:
            raise ValueError(f"Expecting value at byte {self._at}")
        self._at = scalar.end()
        return self._parsed(scalar[0])

    def _list(self, depth: int) -> Any:
        parts: list[list[Any] | npt.NDArray[np.uint8]] = []
        for piece in self._pieces(b"]"):
            if piece is None:
                value = self._value(depth + 1)
                parts.append(value[None] if isinstance(value, np.ndarray) else [value])
                self._counted(1)
            elif not piece.translate(None, _NUMBERS):
                parts.append(self._numbers(piece))
            else:
                parts.append([self._lean(v) for v in self._parsed(b"[%b]" % piece)])
        return self._joined(parts)

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for piece in self._pieces(b"}"):
            if piece is None:
                if self._next() != b'"':
                    raise ValueError(f"Expecting property name at byte {self._at}")
                key = self._string()
                if self._next() != b":":
                    raise ValueError(f"Expecting ':' at byte {self._at}")
                self._at += 1
                members[key] = self._value(depth + 1)
                self._counted(1)
            else:
                small = self._parsed(b"{%b}" % piece)
                members |= {key: self._lean(value) for key, value in small.items()}
        return members

    def _pieces(self, close: bytes) -> Iterator[bytes | None]:
        """Yields the container at hand, as texts of whole elements.

        None stands for an element that has to be read by itself, from where the reader is then.
        """
        self._at += 1
        begun = False
        """Whether there is an element before."""
        while True:
            window = self._body[self._at : self._at + WINDOW]
            comma, end = _cut(window)
            if end is not None:
                piece = window[:end]
                self._at += end
                if piece.strip(_SPACE):
                    yield piece
                elif begun:
                    raise ValueError(f"Expecting value at byte {self._at}")
                break
            if comma is not None:
                if not window[:comma].strip(_SPACE):
                    raise ValueError(f"Expecting value at byte {self._at}")
                self._at += comma
                yield window[:comma]
            elif not window.strip(_SPACE):
                raise ValueError("It is cut off")
            else:
                yield None
                if self._next() not in (b",", close):
                    raise ValueError(f"Expecting ',' at byte {self._at}")
                if self._body[self._at : self._at + 1] == close:
                    break
            self._at += 1
            begun = True
        if self._next() != close:
            raise ValueError(f"Expecting '{close.decode()}' at byte {self._at}")
        self._at += 1

    def _string(self) -> str:
        start = end = self._at + 1
        for _ in range(_QUOTES):
            end = self._body.find(b'"', end)
            if end < 0:
                raise ValueError(f"Unterminated string starting at byte {start - 1}")
            head = end
            while self._body[head - 1] == ord("\\"):
                head -= 1
            if (end - head) % 2 == 0:
                break
            end += 1
        else:
            raise ValueError(f"Expected at most {_QUOTES:,} quotes in a string")
        self._at = end + 1
        return "".join(map(self._parsed, _quoted(self._body[start:end])))

    def _parsed(self, text: bytes) -> Any:
        return json.loads(text.decode("utf-8", "surrogatepass"))

    def _numbers(self, piece: bytes) -> list[Any] | npt.NDArray[np.uint8]:
        values = self._parsed(b"[%b]" % piece)
        try:
            numbers = np.asarray(values, np.float64)
        except (ValueError, OverflowError):  # ragged, or of numbers that are too large
            return [self._lean(v) for v in values]
        if not numbers.size:
            self._counted(len(values))
            return list(values)
        return to_bytes(numbers)

    def _lean(self, value: Any) -> Any:
        """Counts a value, and returns it with arrays for its lists of numbers."""
        self._counted(1)
        if isinstance(value, dict):
            return {key: self._lean(v) for key, v in value.items()}
        if isinstance(value, list):
            array = collapsed(value)
            return [self._lean(v) for v in value] if array is None else array
        return value

    def _joined(self, parts: list[list[Any] | npt.NDArray[np.uint8]]) -> Any:
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        if arrays and len(arrays) == len(parts) and len({a.shape[1:] for a in arrays}) == 1:
            return np.concatenate(arrays)
        self._counted(sum(map(len, arrays)))
        return list(itertools.chain.from_iterable(parts))

    def _counted(self, count: int) -> None:
        self._count += count
        if self._count > MOST:
            raise TooLargeError(
                f"Expected at most {self._images} images and {MOST:,} values of other kinds in a "
                "request, got more."
            )


def _cut(window: bytes) -> tuple[int | None, int | None]:
    """Returns where the last whole element of a container ends, and where the container does."""
    codes = np.frombuffer(window, np.uint8)
    quotes = codes == ord('"')
    if b"\\" in window:
        quotes &= ~_escaped(codes)
    outside = np.bitwise_and(np.cumsum(quotes), 1) == 0
    depths = np.cumsum(np.where(outside, _STEPS[codes], 0))
    ends = np.flatnonzero(depths < 0)
    if len(ends):
        return None, int(ends[0])
    commas = np.flatnonzero((codes == ord(",")) & outside & (depths == 0))
    return (int(commas[-1]) if len(commas) else None), None


def _escaped(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Returns for each byte whether a backslash before it counts."""
    places = np.arange(len(codes))
    others = np.maximum.accumulate(np.where(codes == ord("\\"), -1, places))
    escaped = np.zeros(len(codes), np.bool_)
    escaped[1:] = ((places - others)[:-1] & 1) == 1
    return escaped


def _quoted(text: bytes) -> Iterator[bytes]:
    """Cuts the inside of a string into pieces that are strings of their own."""
    if len(text) > WINDOW and not text.isascii():
        raise ValueError(f"Expected ASCII in a string of {len(text):,} bytes")
    at = 0
    while at < len(text):
        end = at + WINDOW
        # Not within an escape, of which a pair has twelve characters.
        while (escape := text.rfind(b"\\", end - 12, end)) >= 0:
            end = escape + 13
        if end - at > 4 * WINDOW and at + 4 * WINDOW < len(text):
            raise ValueError("Expected fewer escapes in a long string")
        yield b'"%b"' % text[at:end]
        at = end
