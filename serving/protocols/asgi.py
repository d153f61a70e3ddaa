"""What the HTTP routers share: the service, and bodies within their limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from common.errors import ServingError
from serving.config import LimitsConfig
from serving.errors import (
    InvalidRequestError,
    SlowClientError,
    UnauthorizedError,
    client_text,
)
from serving.logs.record import current
from serving.off_loop import WINDOW, off_loop
from serving.protocols.packed import encoding_of, too_large, unpacked
from serving.service import Service


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
        encoding = encoding_of(request.headers.get("content-encoding", ""))
        with service.admitted():
            if encoding:
                limit = service.limits.body_bytes
                body = await off_loop(WINDOW + 1, unpacked, body, encoding, limit)
                take(len(body))
            yield body


async def _read(request: Request, limits: LimitsConfig, take: Callable[[int], None]) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:19]) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.header_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large(limits.body_bytes)
                take(len(chunk))
    except TimeoutError:
        raise SlowClientError(
            f"The request was not there after {limits.header_seconds:g} seconds."
        ) from None
    except ClientDisconnect:
        raise InvalidRequestError("The request was cut off.") from None
    return bytes(body)
