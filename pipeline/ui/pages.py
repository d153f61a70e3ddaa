"""What each page shows: from a request and a reader to a template and its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from starlette.requests import Request

from pipeline.lineage.model import ModelLineage, model_lineage
from pipeline.lineage.records import RUN
from pipeline.lineage.refs import find_artifact, find_run, model_of, pushed_versions
from pipeline.lineage.store import NotFoundError, Reader
from pipeline.ui import links
from trainers.errors import VisionlineError

_LONGEST_QUERY = 1000


class BadQueryError(VisionlineError):
    """A request's query that cannot be meant."""


@dataclass(frozen=True, slots=True)
class Page:
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str


def model(reader: Reader, request: Request) -> Page:
    found = model_lineage(reader, str(request.path_params["id"]))
    return Page("model.html", {"found": found, "name": name_of(found), "picture": Markup("")})


def name_of(found: ModelLineage) -> str:
    """What people call a model: its last name@version, or else its artifact's id."""
    for push in reversed(found.pushes):
        if push.name is not None:
            return f"{push.name}@{push.version}"
    return f"model {found.model.artifact_id}"


def search(reader: Reader, request: Request) -> Redirect:
    ref = _ref(request, "q")
    if reader.context(RUN, ref) is not None:
        return Redirect(links.run_url(ref))
    if pushed_versions(reader, ref):
        return Redirect(links.history_url(ref))
    artifact = find_artifact(reader, ref)
    found = None if artifact is None else model_of(reader, artifact)
    if found is not None:
        return Redirect(links.model_url(found.id))
    return Redirect(links.run_url(find_run(reader, ref).name or ""))


def _ref(request: Request, key: str) -> str:
    text = request.query_params.get(key, "").strip()
    if not text or "\0" in text or len(text) > _LONGEST_QUERY:
        raise BadQueryError(
            f"Expected a model, run or artifact of 1 to {_LONGEST_QUERY} characters, "
            f"got {text[:50]!r}."
        )
    return text


ROUTES = (
    ("/model/{id:int}", model),
    ("/search", search),
)
