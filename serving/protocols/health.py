"""Liveness and readiness, as Kubernetes asks for them; metrics, as Prometheus does."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from serving.protocols import openapi

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
    found = request.app.state.service.readiness()
    given = [v.encode("latin-1") for v in request.headers.getlist("authorization")]
    tokens = request.app.state.tokens
    told = found.lines if not tokens or any([t.is_in(given) for t in tokens]) else ()
    return PlainTextResponse("\n".join((found.word, *told)), 200 if found.word == "ready" else 503)


@router.get("/metrics", **openapi.PROBE)
def metrics(request: Request) -> Response:
    """For Prometheus."""
    # Not on the event loop: it takes some milliseconds.
    found = request.app.state.service.access.metrics.render()
    return Response(found, media_type=CONTENT_TYPE_PLAIN_0_0_4)
