"""What is offered over gRPC, told by the server itself, to grpcurl, Postman and the like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.off_loop import WINDOW

_NAMES = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
"""Both versions have the same messages."""


def add_services(server: Any, services: Collection[str], seconds: float) -> None:
    """Adds reflection to a gRPC server that offers others.

    Args:
      seconds: for a client to ask the next thing; then its stream ends.
    """
    servicer = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))

    async def info(requests: Any, context: Any) -> AsyncIterator[Any]:
        asked = _in_time(aiter(requests), seconds)
        async for answer in servicer.ServerReflectionInfo(asked, context):
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        info, _read, reflection_pb2.ServerReflectionResponse.SerializeToString
    )
    for name in _NAMES:
        generic = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((generic,))


async def _in_time(requests: AsyncIterator[Any], seconds: float) -> AsyncIterator[Any]:
    while True:
        try:
            async with asyncio.timeout(seconds):
                request = await anext(requests)
        except (TimeoutError, StopAsyncIteration):
            return
        yield request


def _read(message: bytes) -> Any:
    """Parses a question; what is longer than any becomes an empty one, which is refused."""
    return reflection_pb2.ServerReflectionRequest.FromString(
        message if len(message) <= WINDOW else b""
    )
