"""What the HTTP routers share: the service, bodies within their limit, deadlines."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
import zlib
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from serving.access import current
from serving.errors import (
    BusyError,
    DeadlineError,
    InvalidRequestError,
    SlowClientError,
    TooLargeError,
    UnsupportedEncodingError,
)
from serving.service import Answer, Query, Service

_LARGE_BODIES = 32
"""Bodies of the largest size that may be on their way at a time."""


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def classify(service: Service, query: Query) -> Answer:
    """Answers a query on an event loop.

    Raises:
      ServingError: it cannot be answered.
    """
    with service.admitted(), service.using(query) as (loaded, deadline):
        future = loaded.submit(query.images, deadline, current().timing)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                scores_NC: Any = await asyncio.wrap_future(future)
        except TimeoutError:
            raise DeadlineError("The deadline passed before the answer was there.") from None
        answer = service.answer(loaded, scores_NC)
    service.answered(query, answer)
    return answer


def error_response(text: str, status: int) -> Response:
    """A refusal, as TensorFlow Serving and the Open Inference Protocol have it."""
    # Escaped, since what a client sent may hold halves of surrogate pairs.
    return Response(json.dumps({"error": text}), status, media_type="application/json")


async def read_body(request: Request) -> bytes:
    """The body, unpacked.

    Raises:
      TooLargeError: it is larger than `limits.body_bytes`; no more of it is read.
      BusyError: others send as much as may be on its way together.
      SlowClientError: the client takes longer than `limits.header_seconds` to send it.
      InvalidRequestError: it is cut off.
      UnsupportedEncodingError: it is packed in another way than gzip and deflate.
    """
    service = service_of(request)
    limits = service.limits
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:19]) > limits.body_bytes:
        raise _too_large(limits.body_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.header_seconds):
            async for chunk in request.stream():
                body += chunk
                service.receiving += len(chunk)
                if len(body) > limits.body_bytes:
                    raise _too_large(limits.body_bytes)
                if service.receiving > _LARGE_BODIES * limits.body_bytes:
                    raise BusyError("Too many large requests are on their way; try again.")
    except TimeoutError:
        raise SlowClientError(
            f"The request was not there after {limits.header_seconds:g} seconds."
        ) from None
    except ClientDisconnect:
        raise InvalidRequestError("The request was cut off.") from None
    finally:
        service.receiving -= len(body)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return bytes(body)
    if encoding not in ("gzip", "deflate"):
        raise UnsupportedEncodingError(
            f"content-encoding: expected gzip or deflate, got {encoding!r}."
        )
    return _unpacked(bytes(body), limits.body_bytes)


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


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
      InvalidRequestError: it is none.
    """
    return parse_json(await read_body(request))


def parse_json(body: bytes) -> dict[str, Any]:
    """Raises InvalidRequestError for what is not a JSON object."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise InvalidRequestError(f"Expected a JSON object: {e}") from None
    if not isinstance(parsed, dict):
        raise InvalidRequestError(f"Expected a JSON object, got a {type(parsed).__name__}.")
    return parsed


def from_base64(text: Any) -> bytes:
    """Raises InvalidRequestError for what is not base64."""
    if not isinstance(text, str):
        raise InvalidRequestError(f"b64: expected a string, got a {type(text).__name__}.")
    try:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:  # broken into lines by many a tool
            return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as e:
        raise InvalidRequestError(f"b64: expected base64: {e}") from None
