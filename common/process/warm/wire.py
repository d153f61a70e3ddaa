"""What client and server say to each other on a Unix socket.

The client sends a byte with file descriptors: a file that holds the request, and those that
the process is to have.  The answers are lines of JSON.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_MOST = 64
"""File descriptors of a request."""
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a process is to do; `stop` asks the server itself to end."""

    arguments: Sequence[str] = ()
    environment: Mapping[str, str]
    folder: str
    """To work in."""
    numbers: Sequence[int] = ()
    """Of the file descriptors, in the process."""
    stop: bool = False


def send(connection: socket.socket, request: Request, descriptors: Sequence[int]) -> None:
    """Sends a request with the file descriptors that `numbers` are for."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(asdict(request)).encode())
        file.flush()
        passed = array.array("i", [file.fileno(), *descriptors])
        connection.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


def receive(connection: socket.socket) -> tuple[Request, list[int]] | None:
    """Returns a request and its file descriptors; None where the other end has gone."""
    space = socket.CMSG_SPACE(_MOST * array.array("i").itemsize)
    text, messages, *_ = connection.recvmsg(1, space)
    descriptors = array.array("i")
    for level, kind, data in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not text or not descriptors:
        return None
    first, *others = descriptors
    with os.fdopen(first, "rb") as file:
        file.seek(0)
        return Request(**json.load(file)), others


def answer(connection: socket.socket, **values: Any) -> None:
    """Sends a line."""
    connection.sendall(json.dumps(values).encode() + b"\n")


def is_ours(connection: socket.socket) -> bool:
    """Says whether the other end is a process of this user's."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(data)[1] == os.getuid())
