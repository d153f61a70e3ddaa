"""The HTTP side: one FastAPI application, a router per protocol."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serving.errors import ServingError
from serving.protocols import file, health, v1, v2_rest
from serving.service import Service


def create_app(service: Service) -> FastAPI:
    """The application over a service that is running."""
    app = FastAPI(title="visionline", openapi_url="/openapi.json")
    app.state.service = service

    @app.exception_handler(ServingError)
    async def refused(request: Request, error: ServingError) -> Response:
        return JSONResponse({"error": str(error)}, error.status)

    for protocol in (file, health, v1, v2_rest):
        app.include_router(protocol.router)
    return app
