"""The token on HTTP and on gRPC: refused before a body or message is read.

The control token is taken for everything (`serving.control` asks for it alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.auth import Token, is_one_in
from serving.errors import UnauthorizedError, client_text
from serving.logs.record import PROBE_METHODS, PROBE_PATHS, current
from serving.protocols.asgi import refusal

OPEN_PATHS = PROBE_PATHS | {"/"}
"""For who has no token: probes, and the page that asks for it.  All others need it."""

_SCHEME = "token"


class BearerHttp:
    """ASGI middleware that asks for the token."""

    def __init__(self, app: ASGIApp, tokens: Sequence[Token]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            headers = [v for k, v in scope["headers"] if k == b"authorization"]
            if not is_one_in(self._tokens, headers):
                return await refusal(self._tokens[0].missing())(scope, receive, send)
        await self._app(scope, receive, send)


class BearerRpc(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """gRPC interceptor that asks for the token."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        sent = authorization(details.invocation_metadata)
        if details.method in PROBE_METHODS or is_one_in(self._tokens, sent):
            return await continuation(details)
        return _refusal(self._tokens[0].missing())


def authorization(metadata: Any) -> list[bytes]:
    """Returns what gRPC's metadata have in place of the header."""
    values = [v for k, v in metadata or () if k == "authorization"]
    return [v.encode() if isinstance(v, str) else v for v in values]


def describe(app: FastAPI) -> None:
    """Puts the token into the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_SCHEME] = {"type": "http", "scheme": "bearer"}
        document["security"] = [{_SCHEME: []}]
        for path in OPEN_PATHS & document["paths"].keys():
            for operation in document["paths"][path].values():
                operation["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _refusal(error: UnauthorizedError) -> Any:
    async def refuse(requests: Any, context: Any) -> None:
        current().error = error
        await context.abort(grpc.StatusCode[error.code], client_text(error))

    # A stream's message is read when it is asked for: here, never.
    return grpc.stream_stream_rpc_method_handler(refuse)
