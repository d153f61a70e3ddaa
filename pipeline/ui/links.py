"""Addresses of pages, for names of any kind."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def run_url(run_id: str) -> str:
    return _named("/runs", run_id)


def history_url(name: str) -> str:
    return _named("/models", name)


def model_url(artifact_id: int) -> str:
    return f"/model/{artifact_id}"


def diff_url(a: str, b: str) -> str:
    return with_query("/diff", a=a, b=b)


def with_query(path: str, **values: str | int | None) -> str:
    query = {k: v for k, v in values.items() if v not in (None, "")}
    return f"{path}?{urlencode(query)}" if query else path


def _named(path: str, name: str) -> str:
    # A browser resolves dot segments before it asks, however they are quoted.
    if {".", "..", ""} & set(name.split("/")):
        return with_query(path, name=name)
    return f"{path}/{quote(name, safe='')}"
