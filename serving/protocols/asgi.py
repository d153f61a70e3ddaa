"""What the HTTP routers share: the service, bodies within their limit, deadlines."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from typing import Any

from fastapi import Request

from serving.errors import DeadlineError, InvalidRequestError, TooLargeError
from serving.service import Answer, Query, Service


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def classify(service: Service, query: Query) -> Answer:
    """Answers a query on an event loop.

    Raises:
      ServingError: it cannot be answered.
    """
    with service.admitted(), service.using(query) as (loaded, deadline):
        future = loaded.submit(query.images, deadline)
        try:
            scores_NC: Any = await asyncio.wait_for(
                asyncio.wrap_future(future), deadline - time.monotonic()
            )
        except TimeoutError:
            raise DeadlineError("The deadline passed before the answer was there.") from None
        return service.answer(loaded, scores_NC)


async def read_body(request: Request) -> bytes:
    """The body.

    Raises:
      TooLargeError: it is larger than `limits.body_bytes`; no more of it is read.
      DeadlineError: the client takes longer than `limits.header_seconds` to send it.
    """
    limits = service_of(request).limits
    body = bytearray()
    try:
        async with asyncio.timeout(limits.header_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise TooLargeError(
                        f"Expected a body of at most {limits.body_bytes:,} bytes, got more."
                    )
    except TimeoutError:
        raise DeadlineError(
            f"The request was not there after {limits.header_seconds:g} seconds."
        ) from None
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
      InvalidRequestError: it is none.
    """
    body = await read_body(request)
    try:
        # A large one takes a while; others are answered meanwhile.
        parsed = (
            json.loads(body) if len(body) < 2**16 else await asyncio.to_thread(json.loads, body)
        )
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
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise InvalidRequestError(f"b64: expected base64: {e}") from None
