"""What the gRPC services share: messages within their limit, and refusals as statuses."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from common.errors import ServingError
from serving.errors import client_text
from serving.logs.record import current
from serving.off_loop import off_loop
from serving.protocols.wire import parse
from serving.service import Service

_log = logging.getLogger(__name__)


class Refusing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Takes messages apart, and turns what goes wrong into its status; the methods just raise."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def method(message: bytes, context: Any) -> Any:
            if not inspect.iscoroutinefunction(handler.unary_unary):
                await context.abort(
                    grpc.StatusCode.UNIMPLEMENTED, f"{details.method} is not offered."
                )
            # The generated deserializer is a method of the message's class.
            kind = handler.request_deserializer.__self__
            try:
                with self._service.room() as take:
                    take(len(message))
                    request = await off_loop(len(message), parse, kind, message)
                    return await handler.unary_unary(request, context)
            except DecodeError as e:
                code, text = grpc.StatusCode.INVALID_ARGUMENT, client_text(e)
            except ServingError as e:
                current().error = e
                code, text = grpc.StatusCode[e.code], client_text(e)
            except Exception:
                _log.exception("%s failed", details.method)
                code, text = grpc.StatusCode.INTERNAL, "The server failed; its log says why."
            await context.abort(code, text)

        return grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=None,  # on the event loop, before it is known how large it is
            response_serializer=handler.response_serializer,
        )
