"""The way people try things: an image file in, its classes out; and a page to drop it on.

GET  /                              the page; where no HTML is asked for, KServe V1's liveness
POST /predict[?model=NAME&version=V&label=L&top=K]   an image file, as the body or a form
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from serving.answer import TOP_K
from serving.errors import InvalidRequestError
from serving.off_loop import off_loop
from serving.protocols import openapi
from serving.protocols.asgi import received, service_of
from serving.protocols.form import first_file
from serving.service import Service

router = APIRouter(tags=["Files"])

_PAGE = Path(__file__).parent / "page.html"
_FORM = "multipart/form-data"


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    vary = {"Vary": "Accept"}
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"status": "alive"}, headers=vary)
    return HTMLResponse(
        _PAGE.read_text("utf-8"),
        headers=vary
        | {
            "Content-Security-Policy": "default-src 'none'; connect-src 'self'; "
            "img-src blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.post("/predict", **openapi.FILE_PREDICT)
async def predict(
    request: Request,
    model: str | None = None,
    version: int | None = None,
    label: str | None = None,
    top: Annotated[int, Query(ge=1)] = TOP_K,
) -> Response:
    """Classifies one image file.

    `model` may be left out where there is only one.
    """
    began = time.perf_counter()
    service = service_of(request)
    name = model or _only_model(service)
    async with received(request) as body:
        content_type = request.headers.get("content-type", "")
        if content_type.lower().startswith(_FORM):
            body = await off_loop(len(body), first_file, body, content_type)
        with service.request(name, version, label) as query:
            answer = await query.answer([body])
    (classes,) = answer.top(top)
    return JSONResponse(
        {
            "model": answer.name,
            "version": answer.version,
            "engine": answer.engine,
            "classes": [{"label": name, "score": score} for name, score in classes],
            "milliseconds": round((time.perf_counter() - began) * 1000, 2),
        }
    )


def _only_model(service: Service) -> str:
    names = sorted(service.repository.models())
    if len(names) != 1:
        raise InvalidRequestError(
            f"Which model? Add ?model=NAME. There are: {', '.join(names) or 'none'}."
        )
    return names[0]
