"""The first file of a form, RFC 7578; by searches alone, since a body is large."""

from __future__ import annotations

from email.message import Message

from serving.errors import InvalidRequestError

_PARTS = 32
_HEAD_BYTES = 8192
_LONGEST_BOUNDARY = 70  # RFC 2046
_STEP = 2**20
"""Bytes that are searched while other threads wait."""


def first_file(body: bytes, content_type: str) -> bytes:
    """Raises InvalidRequestError where there is none."""
    boundary = _parameter(content_type, "boundary")
    if not boundary or len(boundary) > _LONGEST_BOUNDARY or not boundary.isascii():
        raise InvalidRequestError("multipart/form-data: expected a boundary of 1 to 70 characters.")
    between = b"\r\n--" + boundary.encode()
    # A part begins after a line; so does the first one, which has none before it.
    at = 0 if body.startswith(between[2:]) else _find(body, between, 0) + 2
    for _ in range(_PARTS):
        start = at + len(between) - 2
        if (at < 2 and not body.startswith(between[2:])) or body[start : start + 2] == b"--":
            break
        head_end = body.find(b"\r\n\r\n", start, start + _HEAD_BYTES)
        end = _find(body, between, start)
        if head_end < 0 or end < 0:
            raise InvalidRequestError("Expected a form: it is cut off.")
        if _is_file(body[start:head_end]):
            return body[head_end + 4 : end]
        at = end + 2
    raise InvalidRequestError("Expected a form with an image file in it.")


def _find(body: bytes, text: bytes, start: int) -> int:
    """Does `body.find(text, start)`, in steps."""
    for at in range(start, len(body), _STEP):
        place = body.find(text, at, at + _STEP + len(text) - 1)
        if place >= 0:
            return place
    return -1


def _is_file(head: bytes) -> bool:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return _parameter(value, "filename") is not None
    return False


def _parameter(header: str, name: str) -> str | None:
    message = Message()
    message["content-type"] = header.replace("\r", "").replace("\n", "")
    value = message.get_param(name)
    return value[2] if isinstance(value, tuple) else value
