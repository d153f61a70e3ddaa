"""Liveness and readiness, as Kubernetes asks for them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from serving.protocols import openapi

router = APIRouter(tags=["health"])


@router.get("/healthz", **openapi.PROBE)
async def live() -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


@router.get("/readyz", **openapi.PROBE)
async def ready(request: Request) -> Response:
    """Every model that can be loaded was; from then on, whether any answers."""
    if request.app.state.service.repository.ready:
        return PlainTextResponse("ready")
    return PlainTextResponse("loading", 503)
