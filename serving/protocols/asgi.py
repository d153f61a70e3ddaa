"""What the HTTP routers share: the service, and bodies within their limit."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from common.errors import ServingError
from serving.config import LimitsConfig
from serving.errors import (
    InvalidRequestError,
    SlowClientError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedEncodingError,
    client_text,
)
from serving.logs.record import current
from serving.off_loop import WINDOW, off_loop
from serving.service import Service

_ENCODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_GZIP = b"\x1f\x8b"
_MEMBERS = 4096
"""Of one gzip; tools that pack in blocks make one for each."""


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def authorization(request: Request) -> list[bytes]:
    """Returns the request's Authorization headers."""
    return [v.encode("latin-1") for v in request.headers.getlist("authorization")]


def error_response(text: str, status: int) -> Response:
    """Makes a refusal as TensorFlow Serving and the Open Inference Protocol have it."""
    # Escaped, since what a client sent may hold halves of surrogate pairs.
    return Response(json.dumps({"error": text}), status, media_type="application/json")


def refusal(error: ServingError) -> Response:
    """Tells a client why it is refused; the record of the request learns it, too."""
    current().error = error
    response = error_response(client_text(error), error.status)
    if isinstance(error, UnauthorizedError):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[bytes]:
    """Reads and unpacks the body of a request that is admitted, with room until it is answered.

    Raises:
      TooLargeError: it is larger than `limits.body_bytes`; no more of it is read.
      BusyError: others take the room, or as many as may are being answered.
      SlowClientError: the client takes longer than `limits.header_seconds` to send it.
      InvalidRequestError: it is cut off.
      UnsupportedEncodingError: it is packed in another way than gzip and deflate.
    """
    service = service_of(request)
    with service.room() as take:
        body = await _read(request, service.limits, take)
        sent = request.headers.get("content-encoding", "").strip().lower()
        if (encoding := _ENCODINGS.get(sent)) is None:
            raise UnsupportedEncodingError(
                f"content-encoding: expected gzip or deflate, got {sent!r}."
            )
        with service.admitted():
            if encoding:
                limit = service.limits.body_bytes
                body = await off_loop(WINDOW + 1, _unpacked, body, encoding, limit)
                take(len(body))
            yield body


async def _read(request: Request, limits: LimitsConfig, take: Callable[[int], None]) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:19]) > limits.body_bytes:
        raise _too_large(limits.body_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.header_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_large(limits.body_bytes)
                take(len(chunk))
    except TimeoutError:
        raise SlowClientError(
            f"The request was not there after {limits.header_seconds:g} seconds."
        ) from None
    except ClientDisconnect:
        raise InvalidRequestError("The request was cut off.") from None
    return bytes(body)


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Unpacks a whole body: all members of a gzip, and deflate with its header or without."""
    is_bare = encoding == "deflate" and body[:2] != _GZIP and not _has_zlib_header(body)
    form = -zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32  # either header
    unpacked = bytearray()
    rest = memoryview(body)
    try:
        for _ in range(_MEMBERS):
            rest = _unpack_member(zlib.decompressobj(form), rest, unpacked, limit)
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
    return bytes(unpacked)


def _unpack_member(unpacker: Any, packed: memoryview, to: bytearray, limit: int) -> memoryview:
    """Unpacks to the end of one member; returns what comes after it."""
    for at in range(0, len(packed), WINDOW):
        window = packed[at : at + WINDOW]
        to += unpacker.decompress(window, limit + 1 - len(to))
        if len(to) > limit:
            raise _too_large(limit)
        if unpacker.eof:
            return packed[at + len(window) - len(unpacker.unused_data) :]
    raise InvalidRequestError("Expected a packed body: it is cut off.")


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and not (body[0] << 8 | body[1]) % 31


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"Expected a body of at most {limit:,} bytes, got more.")
