"""The web application: routes, errors, headers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import ConfigError, NotFoundError, StoreError
from lineage.drawing.drawing import STYLE
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.reader import Reader
from pipeline.ui import pages
from pipeline.ui.pages import Page, Redirect
from pipeline.ui.rendering import HERE, templates

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_TITLES = {
    400: "That is not a question",
    404: "Nothing found",
    405: "Only for reading",
    500: "Something is wrong here",
    503: "The metadata store cannot be read",
}

Handler = Callable[[Reader, Request], Page | Redirect]


def make_app(connection: Connection, hosts: Collection[str]) -> ASGIApp:
    """The page over one store.

    Args:
      hosts: names that a request may give as its Host, "*" for any. Others are refused:
        a web site that made its own name point here could read the page otherwise.
    """
    pages_of = templates(str(connection))

    def render(page: Page, status: int = 200) -> Response:
        html = pages_of.get_template(page.template).render(page.values)
        return HTMLResponse(html, status_code=status)

    def endpoint(handler: Handler) -> Callable[[Request], Response]:
        # Not a coroutine: Starlette runs it in a thread, where it may wait for the store.
        def answer(request: Request) -> Response:
            reader = open_reader(connection)
            try:
                page = handler(reader, request)
            finally:
                reader.close()
            if isinstance(page, Redirect):
                return RedirectResponse(page.url, status_code=303)
            return render(page)

        return answer

    def failure(status: int) -> Callable[[Request, Exception], Response]:
        def answer(request: Request, error: Exception) -> Response:
            query = request.query_params.get("q", "")
            return render(_error_page(status, str(error), query), status)

        return answer

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"There is no page {request.url.path}." if error.status_code == 404 else ""
        response = render(_error_page(error.status_code, message, ""), error.status_code)
        response.headers.update(error.headers or {})
        return response

    def broken(request: Request, error: Exception) -> Response:
        message = "The reason is in the terminal in which visionline ui runs."
        return render(_error_page(500, message, ""), 500)

    app = Starlette(
        routes=[
            *(Route(path, endpoint(handler)) for path, handler in pages.ROUTES),
            Route("/static/lineage.css", _drawing_style),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(_ReadOnly),
        ],
        exception_handlers={
            StoreError: failure(503),
            NotFoundError: failure(404),
            ConfigError: failure(400),
            HTTPException: refused,
            Exception: broken,
        },
    )
    return _Headers(app)


def _drawing_style(request: Request) -> Response:
    return Response(STYLE, media_type="text/css")


def _error_page(status: int, message: str, query: str) -> Page:
    values = {"status": status, "title": _TITLES.get(status, "That did not work")}
    return Page("error.html", {**values, "message": message, "query": query})


class _Headers:
    """Puts the security headers on every answer, errors among them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _ReadOnly:
    """Refuses everything but reading."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            response: Any = PlainTextResponse(
                "This page is for reading only: GET and HEAD.\n", 405, {"Allow": "GET, HEAD"}
            )
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
