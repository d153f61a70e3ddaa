"""Protobuf messages that are large: their parts are counted before they are made.

A part of two bytes becomes an object of a hundred, and the library holds Python's lock
while it makes them all.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from serving.errors import TooLargeError
from serving.off_loop import WINDOW
from serving.protocols.json_reader import MOST

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """Parses a message of a kind.

    Raises:
      DecodeError: it is none.
      TooLargeError: it has more than `MOST` fields.
    """
    if len(data) > WINDOW:
        _count(data, kind.DESCRIPTOR)
    message: M = kind.FromString(data)
    return message


def _count(data: bytes, descriptor: Any) -> None:
    left = MOST
    inside = [(0, len(data), descriptor)]
    while inside:
        at, end, descriptor = inside.pop()
        fields = descriptor.fields_by_number
        while at < end:
            left -= 1
            if left < 0:
                raise TooLargeError(f"Expected a message of at most {MOST:,} fields, got more.")
            tag, at = varint(data, at)
            kind = tag & 7
            if kind == _VARINT:
                _, at = varint(data, at)
            elif kind in (_EIGHT, _FOUR):
                at += 8 if kind == _EIGHT else 4
            elif kind == _BYTES:
                length, at = varint(data, at)
                field = fields.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    inside.append((at, min(at + length, end), field.message_type))
                at += length
            else:
                raise DecodeError("Expected a message without groups.")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Reads a number of Protobuf's; returns it, and where it ends.

    Raises:
      DecodeError: it is cut off.
    """
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise DecodeError("Expected a message: it is cut off.")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
