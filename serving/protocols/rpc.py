"""What the gRPC services share: errors as statuses, and deadlines."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from serving.errors import ServingError
from serving.protocols.asgi import classify
from serving.service import Answer, Query, Service

R = TypeVar("R")
Method = Callable[[Any, Any, Any], Awaitable[R]]


def refusing(method: Method[R]) -> Method[R]:
    """Turns a refusal into its gRPC status."""

    @functools.wraps(method)
    async def wrapped(self: Any, request: Any, context: Any) -> R:
        try:
            return await method(self, request, context)
        except ServingError as e:
            await context.abort(grpc.StatusCode[e.code], str(e))
            raise  # abort does not return

    return wrapped


async def classify_within(service: Service, query: Query, context: Any) -> Answer:
    """Answers a query within the deadline that the client has set."""
    query.timeout = context.time_remaining()
    return await classify(service, query)
