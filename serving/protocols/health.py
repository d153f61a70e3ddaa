"""Liveness and readiness, as Kubernetes asks for them; metrics, as Prometheus does."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from serving.auth import is_one_in
from serving.protocols import openapi
from serving.protocols.asgi import authorization, service_of

router = APIRouter(tags=["health"])


@router.get("/healthz", **openapi.PROBE)
async def live() -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


@router.get("/readyz", **openapi.PROBE)
async def ready(request: Request) -> Response:
    """Every model that can be loaded was; from then on, whether any answers.

    A word, and lines that say what does not answer and why; these are for who has the token.
    """
    readiness = service_of(request).readiness()
    tokens = request.app.state.tokens
    may_know = not tokens or is_one_in(tokens, authorization(request))
    text = "\n".join((readiness.word, *(readiness.lines if may_know else ())))
    return PlainTextResponse(text, 200 if readiness.word == "ready" else 503)


@router.get("/metrics", **openapi.PROBE)
def metrics(request: Request) -> Response:
    """For Prometheus."""
    # Not on the event loop: it takes some milliseconds.
    exposition = service_of(request).access.metrics.render()
    return Response(exposition, media_type=CONTENT_TYPE_PLAIN_0_0_4)
