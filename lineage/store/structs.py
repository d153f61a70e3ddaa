"""google.protobuf.Struct, read from its bytes: all of protobuf that a property needs.

Importing protobuf takes longer than answering most questions.
https://protobuf.dev/programming-guides/encoding/ and struct.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lineage.store.records import Value

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""


def parse_struct(data: bytes) -> Value:
    """Reads a Struct as TFX uses it: what is below `__value__`, or a dict.

    Raises:
      ValueError: it is no Struct.
    """
    fields = _fields(data)
    return fields["__value__"] if set(fields) == {"__value__"} else fields


def _fields(data: bytes) -> dict[str, Value]:
    """Reads a Struct: map<string, Value> fields = 1."""
    fields: dict[str, Value] = {}
    for number, entry in parts(data):
        if number == 1:
            pair = dict(parts(_bytes(entry)))
            fields[_bytes(pair.get(1, b"")).decode()] = _value(_bytes(pair.get(2, b"")))
    return fields


def _value(data: bytes) -> Value:
    """Reads a Value, whose last field counts."""
    value: Value = None
    for number, part in parts(data):
        if number == 1:
            value = None
        elif number == 2:
            (value,) = struct.unpack("<d", _bytes(part))
        elif number == 3:
            value = _bytes(part).decode()
        elif number == 4:
            value = bool(part)
        elif number == 5:
            value = _fields(_bytes(part))
        elif number == 6:
            value = [_value(_bytes(v)) for n, v in parts(_bytes(part)) if n == 1]
    return value


def parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields a message's fields: number, and an integer or the bytes of anything else."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("cut off")


def _bytes(part: int | bytes) -> bytes:
    if isinstance(part, int):
        raise ValueError("expected bytes, got a number")
    return part
