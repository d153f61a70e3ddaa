"""Bodies that are packed: gzip, in members or whole, and deflate; within the limit for bodies."""

from __future__ import annotations

import zlib
from typing import Any

from serving.errors import InvalidRequestError, TooLargeError, UnsupportedEncodingError
from serving.off_loop import WINDOW

_ENCODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_GZIP = b"\x1f\x8b"
_MEMBERS = 4096
"""Of one gzip; tools that pack in blocks make one for each."""


def encoding_of(header: str) -> str:
    """Reads the header Content-Encoding; "" for a body that is not packed.

    Raises:
      UnsupportedEncodingError: it is packed in another way than gzip and deflate.
    """
    name = header.strip().lower()
    if name not in _ENCODINGS:
        raise UnsupportedEncodingError(f"content-encoding: expected gzip or deflate, got {name!r}.")
    return _ENCODINGS[name]


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Unpacks a whole body: all members of a gzip, and deflate with its header or without.

    Raises:
      InvalidRequestError: it is packed otherwise, cut off, or has more after its end.
      TooLargeError: it is larger than the limit, or has more than `_MEMBERS` members.
    """
    is_bare = encoding == "deflate" and body[:2] != _GZIP and not _has_zlib_header(body)
    form = -zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32  # either header
    found = bytearray()
    rest = memoryview(body)
    try:
        for _ in range(_MEMBERS):
            rest = _unpack_member(zlib.decompressobj(form), rest, found, limit)
            if rest[:2] != _GZIP:
                break
    except zlib.error as e:
        raise InvalidRequestError(f"Expected a body packed with {encoding}: {e}") from None
    if rest[:2] == _GZIP:
        raise TooLargeError(f"Expected a gzip of at most {_MEMBERS:,} members, got more.")
    if bytes(rest).strip(b"\0"):  # tools fill their blocks with zeros
        raise InvalidRequestError(
            f"Expected a packed body, got {len(rest):,} bytes more after its end."
        )
    return bytes(found)


def _unpack_member(unpacker: Any, packed: memoryview, to: bytearray, limit: int) -> memoryview:
    """Unpacks to the end of one member; returns what comes after it."""
    for at in range(0, len(packed), WINDOW):
        window = packed[at : at + WINDOW]
        to += unpacker.decompress(window, limit + 1 - len(to))
        if len(to) > limit:
            raise too_large(limit)
        if unpacker.eof:
            return packed[at + len(window) - len(unpacker.unused_data) :]
    raise InvalidRequestError("Expected a packed body: it is cut off.")


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and not (body[0] << 8 | body[1]) % 31


def too_large(limit: int) -> TooLargeError:
    """Returns the refusal of a body that is larger than the limit, packed or not."""
    return TooLargeError(f"Expected a body of at most {limit:,} bytes, got more.")
