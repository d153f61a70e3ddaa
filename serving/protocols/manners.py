"""What clients expect of any HTTP server, whatever the path."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETRY_SECONDS = 1
_BUSY = frozenset({429, 503})


class Manners:
    """ASGI middleware: HEAD is GET without a body, a slash at the end is overlooked.

    Starlette would redirect the latter, to wherever the Host header says.  And whoever is turned
    away for a moment is told when to come again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_head = scope["method"] == "HEAD"
        path = scope["path"]
        asked = {**scope, "path": path[:-1] if len(path) > 1 and path[-1] == "/" else path}
        if is_head:
            asked["method"] = "GET"

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _BUSY:
                retry = (b"retry-after", b"%d" % RETRY_SECONDS)
                message = {**message, "headers": [*message.get("headers", ()), retry]}
            elif message["type"] == "http.response.body" and is_head:
                message = {**message, "body": b""}
            await send(message)

        await self._app(asked, receive, answered)
