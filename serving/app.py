"""The HTTP side: one FastAPI application, a router per protocol."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from common.errors import ServingError
from serving.auth import Token
from serving.logs.record import HEADER
from serving.protocols import bearer, file, health, reference, v1, v2_rest
from serving.protocols.asgi import error_response, refusal
from serving.protocols.manners import Manners
from serving.protocols.recording import RecordedHttp
from serving.service import Service


class _Recorded(FastAPI):
    """Its outermost middleware is the record's: outside of what answers failures."""

    def build_middleware_stack(self) -> ASGIApp:
        inside = super().build_middleware_stack()
        if self.state.origins:
            # Outside of the token: a browser asks whether it may send one without it.
            inside = CORSMiddleware(
                inside,
                allow_origins=self.state.origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=[HEADER, "retry-after", v2_rest.HEADER_LENGTH],
            )
        return RecordedHttp(inside, self.state.service.access)


def create_app(
    service: Service, token: Token | None = None, origins: Sequence[str] = ()
) -> FastAPI:
    """Makes the application over a service that is running.

    Args:
      token: what requests have to bring, if anything.
      origins: the pages of these may ask from a browser; "*": those of all.
    """
    # FastAPI's own pages of the document load their scripts from elsewhere.
    app = _Recorded(title="visionline", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.state.origins = origins

    @app.exception_handler(ServingError)
    async def refused(request: Request, error: ServingError) -> Response:
        return refusal(error)

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> Response:
        response = error_response(str(error.detail), error.status_code)
        response.headers.update(error.headers or {})
        if response.headers.get("allow") == "GET":
            response.headers["allow"] = "GET, HEAD"
        return response

    @app.exception_handler(RequestValidationError)
    async def bad_parameter(request: Request, error: RequestValidationError) -> Response:
        (first, *_) = error.errors()
        return error_response(f"{first['loc'][-1]}: {first['msg']}.", 400)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return error_response("The server failed; its log says why.", 500)

    for protocol in (file, health, reference, v1, v2_rest):
        # Not `include_router`: FastAPI looks for the route of an included one twice.
        app.router.routes.extend(protocol.router.routes)
    app.add_middleware(Manners)
    app.state.tokens = []
    if token is not None:
        app.state.tokens = tokens = [t for t in (token, service.control.token) if t is not None]
        app.add_middleware(bearer.BearerHttp, tokens=tokens)
        bearer.describe(app)
    return app
