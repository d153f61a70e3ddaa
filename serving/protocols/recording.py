"""The record of every request, begun and ended on both ports; and its id, told the client.

Outside of all else, so that refusals are recorded too.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs.access import Access
from serving.logs.record import HEADER, LONGEST_PATH, Record, choose_id

_HEADER = HEADER.encode()
_PATHS = {"v1": "v1", "v2": "v2", "predict": "file"}
"""Protocol by the first part of a path."""
_SERVICES = {"inference": "v2-grpc", "tensorflow": "tfs-grpc"}
"""Protocol by the first word of a service's name."""
_CLOCKS = 0.1
"""Seconds: a client that gives up at its deadline is heard of before the deadline passes here."""


class RecordedHttp:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path, client = scope["path"], scope.get("client")
        sent_id = next((v for k, v in scope["headers"] if k == _HEADER), b"")
        record = Record(
            protocol=_PATHS.get(path[1:].partition("/")[0], ""),
            request_id=choose_id(sent_id.decode("latin-1")),
            call={"method": scope["method"], "path": path[:LONGEST_PATH]},
            peer=f"{client[0]}:{client[1]}" if client else "",
        )

        async def counted() -> Message:
            message = await receive()
            record.bytes_in += len(message.get("body", b""))
            return message

        async def identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = [*message.get("headers", ()), (_HEADER, record.request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        self._access.begin(record)
        try:
            await self._app(scope, counted, identified)
        finally:
            if record.status is None:  # it was ended without an answer
                record.status = 503
            self._access.end(record)


class RecordedRpc(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """gRPC interceptor; the id is in the trailing metadata."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        metadata = details.invocation_metadata or ()
        sent_id = next((v for k, v in metadata if k == HEADER), None)
        record = Record(
            protocol=_SERVICES.get(details.method[1:].partition(".")[0], ""),
            request_id=choose_id(sent_id),
            call={"rpc": details.method[:LONGEST_PATH]},
        )
        handler = await continuation(details)
        if handler is not None and handler.unary_unary is not None:

            def counted(message: bytes) -> Any:
                record.bytes_in = len(message)
                deserializer = handler.request_deserializer
                return deserializer(message) if deserializer else message

            return grpc.unary_unary_rpc_method_handler(
                self._recorded(record, handler.unary_unary), counted, handler.response_serializer
            )
        if handler is not None and inspect.isasyncgenfunction(handler.unary_stream):
            return grpc.unary_stream_rpc_method_handler(
                self._streamed(record, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler is not None and inspect.isasyncgenfunction(handler.stream_stream):
            return grpc.stream_stream_rpc_method_handler(
                self._streamed(record, handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        method = _not_offered
        if handler is not None and inspect.iscoroutinefunction(handler.stream_stream):
            method = handler.stream_stream  # a refusal that does not read the message
        return grpc.stream_stream_rpc_method_handler(self._recorded(record, method))

    def _recorded(self, record: Record, method: Any) -> Any:
        async def recorded(request: Any, context: Any) -> Any:
            with self._call(record, context):
                return await method(request, context)

        return recorded

    def _streamed(self, record: Record, method: Any) -> Any:
        async def streamed(requests: Any, context: Any) -> AsyncIterator[Any]:
            with self._call(record, context):
                async for response in method(requests, context):
                    yield response

        return streamed

    @contextmanager
    def _call(self, record: Record, context: Any) -> Iterator[None]:
        record.peer = context.peer()
        context.set_trailing_metadata(((HEADER, record.request_id),))
        self._access.begin(record)
        try:
            yield
            record.status = "OK"
        except asyncio.CancelledError:
            left = context.time_remaining()
            late = left is not None and left <= _CLOCKS
            record.status = "DEADLINE_EXCEEDED" if late else "CANCELLED"
            raise
        finally:
            if record.status is None:
                code = context.code()
                record.status = "UNKNOWN" if code is None else code.name
            self._access.end(record)


async def _not_offered(requests: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "This method is not offered.")
