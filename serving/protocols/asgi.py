"""What the HTTP routers share: the service, and bodies within their limit."""

from __future__ import annotations

import asyncio
import base64
import binascii
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

_STEP = 2**20
"""Bytes that are decoded at a time while other threads wait."""


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
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "deflate"):
            raise UnsupportedEncodingError(
                f"content-encoding: expected gzip or deflate, got {encoding!r}."
            )
        with service.admitted():
            if encoding != "identity":
                body = await off_loop(WINDOW + 1, _unpacked, body, service.limits.body_bytes)
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


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as e:
        raise InvalidRequestError(f"Expected a packed body: {e}") from None
    if len(unpacked) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise InvalidRequestError("Expected a packed body: it is cut off.")
    return unpacked


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"Expected a body of at most {limit:,} bytes, got more.")


def from_base64(text: Any) -> bytes:
    """Raises InvalidRequestError for what is not base64."""
    if not isinstance(text, str):
        raise InvalidRequestError(f"b64: expected a string, got a {type(text).__name__}.")
    try:
        data = text.encode("ascii")
        try:
            return _decoded(data)
        except binascii.Error:  # broken into lines by many a tool
            return _decoded(b"".join(data.split()))
    except ValueError as e:
        raise InvalidRequestError(f"b64: expected base64: {e}") from None


def _decoded(data: bytes) -> bytes:
    if len(data) <= _STEP:
        return base64.b64decode(data, validate=True)
    if b"=" in data[:-2]:
        raise binascii.Error("Padding before the end")
    steps = range(0, len(data), _STEP)
    return b"".join(base64.b64decode(data[i : i + _STEP], validate=True) for i in steps)
