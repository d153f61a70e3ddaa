"""The OpenAPI document as a page, made here: it loads nothing, so it works without a network.

GET  /docs    every request, what it takes and answers, and a line for curl
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

router = APIRouter()

_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 54rem; padding: 1rem; }
nav a { margin-right: 1rem; }
summary { cursor: pointer; padding: .3rem 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid; border-radius: .3rem; }
"""


@router.get("/docs", include_in_schema=False)
async def reference(request: Request) -> Response:
    return HTMLResponse(
        _page(request.app.openapi()),
        headers={
            "Content-Security-Policy": _POLICY.format(_digest(_STYLE)),
            "X-Content-Type-Options": "nosniff",
        },
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _page(document: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            (tag, *_) = operation.get("tags", ["other"])
            by_tag.setdefault(tag, []).append("".join(_operation(method, path, operation)))
    tags = list(enumerate(by_tag))
    links = "".join(f'<a href="#t{n}">{escape(tag)}</a> ' for n, tag in tags)
    sections = "".join(f'<h2 id="t{n}">{escape(tag)}</h2>{"".join(by_tag[tag])}' for n, tag in tags)
    title = escape(f"{document['info']['title']}: requests over HTTP")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{title}</h1><p>SERVER stands for this server's address, NAME for a "
        "model's name. Where it asks for a token, add <code>-H 'Authorization: Bearer "
        "TOKEN'</code>.</p></header>"
        f"<nav>{links}</nav><main>{sections}</main>"
        '<footer><p><a href="openapi.json">openapi.json</a> · '
        '<a href="./">classify an image</a></p></footer></body></html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code></summary>"
    if description := operation.get("description"):
        yield f"<p>{escape(description)}</p>"
    yield _preformatted("\n".join(_samples(method, path, operation)))
    query = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
    if query:
        yield f"<p>In the query: {escape(', '.join(query))}.</p>"
    yield from _schemas("Takes", operation.get("requestBody", {}))
    yield from _schemas("Answers", operation["responses"]["200"])
    yield "</details>"


def _samples(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    written = [sample["source"] for sample in operation.get("x-codeSamples", ())]
    filled = path.replace("{name}", "NAME").replace("{", "").replace("}", "")
    post = "-X POST " if method == "post" else ""
    return written or [f"curl {post}SERVER{filled}"]


def _schemas(word: str, message: dict[str, Any]) -> Iterator[str]:
    for kind, content in message.get("content", {}).items():
        if schema := content.get("schema"):
            text = json.dumps(schema, indent=1, ensure_ascii=False)
            yield f"<p>{word} {escape(kind)}:</p>{_preformatted(text)}"


def _preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
