"""Base64 as clients write it: in lines, without its padding, URL-safe, or as a data URI."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from serving.errors import InvalidRequestError

_STEP = 2**20
"""Bytes that are decoded at a time while other threads wait; of whole groups of four."""
_DATA_URI = re.compile(r"data:([^,]{0,200}),", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?:https?|file|s3|gs)://.*|(?:[./~]|[A-Za-z]:\\).{1,300}|.{1,300}\.[A-Za-z]\w{2,3}"
)
_SPACE_WITHIN = re.compile(rb"[^\s] +[^\s]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def from_base64(text: Any, index: int) -> bytes:
    """Decodes what stands for a request's image of this index.

    Raises:
      InvalidRequestError: it is no base64, or could be meant in two ways.
    """
    if not isinstance(text, str):
        raise InvalidRequestError(
            f"Image {index}: b64: expected a string, got a {type(text).__name__}."
        )
    start = 0
    if uri := _DATA_URI.match(text):
        if not uri[1].lower().rstrip().endswith(";base64"):
            raise InvalidRequestError(
                f"Image {index}: expected a data URI in base64, data:image/…;base64,…, got "
                f"{uri[0][:60]!r}."
            )
        start = uri.end()
    try:
        return _decoded(text[start:].encode("ascii"))
    except ValueError as e:
        if _ADDRESS.fullmatch(text):
            raise InvalidRequestError(
                f"Image {index}: expected the image itself in base64, got {text[:60]!r}: a server "
                "opens no paths and addresses."
            ) from None
        raise InvalidRequestError(f"Image {index}: b64: expected base64: {e}") from None


def _decoded(data: bytes) -> bytes:
    if len(data) % 4 == 0:
        try:
            return _strictly(data)
        except binascii.Error:
            pass
    if _SPACE_WITHIN.search(data):
        raise binascii.Error("there are spaces in it; a + that a form or URL took for one?")
    data = data.translate(None, b" \t\r\n\v\f")
    if b"-" in data or b"_" in data:
        if b"+" in data or b"/" in data:
            raise binascii.Error("it has + or / and also - or _, of two alphabets")
        data = data.translate(_URL_SAFE)
    if b"=" not in data[-2:]:
        if len(data) % 4 == 1:
            raise binascii.Error(f"{len(data)} characters; some are missing")
        data += b"=" * (-len(data) % 4)
    return _strictly(data)


def _strictly(data: bytes) -> bytes:
    if len(data) <= _STEP:
        return base64.b64decode(data, validate=True)
    if b"=" in data[:-2]:
        raise binascii.Error("Padding before the end")
    steps = range(0, len(data), _STEP)
    return b"".join(base64.b64decode(data[i : i + _STEP], validate=True) for i in steps)
