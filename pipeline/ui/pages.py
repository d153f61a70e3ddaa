"""What each page shows: from a request and a reader to a template and its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from common.errors import ConfigError, NotFoundError
from common.record.artifacts import Pushed
from common.record.kinds import MODEL, PIPELINE, PUSHED_MODEL, RUN
from common.record.record import value_of
from lineage.drawing.drawing import Node
from lineage.graph.facts import Verdict
from lineage.graph.measured import headline_of
from lineage.graph.pushed import PushRef, names_known
from lineage.graph.refs import find_artifact, find_model, find_run, model_of
from lineage.graph.versions import comparable_latencies
from lineage.questions.diff import diff
from lineage.questions.history import history
from lineage.questions.model import ModelLineage, lineage_of
from lineage.questions.run_detail import run_detail
from lineage.questions.runs import STATES, list_runs
from lineage.store.reader import Reader
from lineage.store.records import Artifact
from pipeline.ui import links
from pipeline.ui.chart import line_chart
from pipeline.ui.names import named_models
from pipeline.ui.rendering import model_values, name_of

_RUNS, _FEW_RUNS, _MODELS, _VERSIONS, _OFFERED = 50, 8, 200, 200, 30
"""Rows of a table, at most: runs, runs on the overview, models, versions; choices offered."""
_LONGEST_QUERY = 1000


@dataclass(frozen=True, slots=True)
class Page:
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str


def overview(reader: Reader, request: Request) -> Page:
    models, total = named_models(reader, _MODELS)
    latest = list_runs(reader, _FEW_RUNS).runs
    return Page("overview.html", {"models": models, "total": total, "runs": latest})


def runs(reader: Reader, request: Request) -> Page:
    if "name" in request.query_params:
        return _run(reader, _ref(request, "name"))
    pipeline = request.query_params.get("pipeline") or None
    state = request.query_params.get("state") or None
    older = _ref(request, "older") if "older" in request.query_params else None
    latest = list_runs(reader, _RUNS + 1, pipeline, state, older).runs
    shown = latest[:_RUNS]
    return Page(
        "runs.html",
        {
            "runs": shown,
            "more": shown[-1].run_id if len(latest) > _RUNS else None,
            "older": older,
            "pipeline": pipeline,
            "state": state,
            "states": STATES,
            "pipelines": sorted({c.name for c in reader.latest_contexts(PIPELINE, 100) if c.name}),
        },
    )


def run(reader: Reader, request: Request) -> Page:
    return _run(reader, request.path_params["run_id"])


def _run(reader: Reader, run_id: str) -> Page:
    if reader.context(RUN, run_id) is None:
        raise NotFoundError(f"There is no run {run_id!r} in {reader.where}.")
    detail = run_detail(reader, run_id)
    ids = {p.artifact_id for s in detail.steps for p in s.outputs if p.type == MODEL}
    made = [lineage_of(reader, a) for a in reader.artifacts(ids).values()]
    models = [(name_of(m), m.model.artifact_id, _verdict_in(m, run_id)) for m in made]
    return Page("run.html", {"detail": detail, "run": detail.run, "models": models})


def _verdict_in(lineage: ModelLineage, run_id: str) -> Verdict | None:
    """A run's own verdict on its model, or else the last one on it."""
    own = [v for v in lineage.verdicts if v.run_id == run_id] or lineage.verdicts
    return own[-1] if own else None


def models(reader: Reader, request: Request) -> Page:
    if "name" in request.query_params:
        return _versions(reader, _ref(request, "name"))
    named, total = named_models(reader, _MODELS)
    return Page("models.html", {"models": named, "total": total})


def versions(reader: Reader, request: Request) -> Page:
    return _versions(reader, request.path_params["name"])


def _versions(reader: Reader, name: str) -> Page:
    answer = history(reader, name, _VERSIONS)
    labels = [str(v.version) for v in answer.versions]
    latencies, of = comparable_latencies(answer.versions)
    charts = (
        line_chart(
            headline_of(answer.versions), labels, [v.headline_value for v in answer.versions]
        ),
        line_chart(f"latency {of}".strip(), labels, latencies, " ms"),
    )
    return Page("history.html", {"history": answer, "charts": [c for c in charts if c is not None]})


def model(reader: Reader, request: Request) -> Page:
    artifact = find_model(reader, str(request.path_params["id"]))

    def link(node: Node) -> str | None:
        other = node.title == "Model" or node.aside
        if node.kind == "artifact" and other and node.record not in (None, artifact.id):
            return links.model_url(node.record or 0)
        return links.run_url(node.run_id) if node.run_id else None

    return Page("model.html", {"layout": "base.html", **model_values(reader, artifact, link)})


def compare(reader: Reader, request: Request) -> Page:
    refs = [request.query_params.get(key, "").strip() for key in ("a", "b")]
    latest = list_runs(reader, _OFFERED).runs
    values: dict[str, Any] = {
        "a": refs[0],
        "b": refs[1],
        "offered": dict.fromkeys(
            [*(r.pushed for r in latest if r.pushed), *(r.run_id for r in latest)]
        ),
        "difference": None,
    }
    if any(refs):
        values["difference"] = diff(reader, _ref(request, "a"), _ref(request, "b"))
    return Page("diff.html", values)


def search(reader: Reader, request: Request) -> Redirect:
    ref = _ref(request, "q")
    if reader.context(RUN, ref) is not None:
        return Redirect(links.run_url(ref))
    artifact = find_artifact(reader, ref)
    if artifact is None:
        raise NotFoundError(f"Nothing is known as {ref!r}.{names_known(reader, ref)}")
    if _name_pushed(artifact) == ref:
        return Redirect(links.history_url(ref))
    model = model_of(reader, artifact)
    if model is not None:
        return Redirect(links.model_url(model.id))
    return Redirect(links.run_url(find_run(reader, str(artifact.id)).name or ""))


def _name_pushed(artifact: Artifact) -> str | None:
    destination = value_of(artifact, Pushed.pushed_destination)
    if artifact.type != PUSHED_MODEL or destination is None:
        return None
    return PushRef(artifact.id, destination.rstrip("/"), None).name


def _ref(request: Request, key: str) -> str:
    text = request.query_params.get(key, "").strip()
    if not text or "\0" in text or len(text) > _LONGEST_QUERY:
        got = repr(text[:50]) if text else "nothing"
        raise ConfigError(
            f"{key}: expected the name of a model, run or artifact, of at most "
            f"{_LONGEST_QUERY} characters, got {got}."
        )
    return text


ROUTES = (
    ("/", overview),
    ("/runs", runs),
    ("/runs/{run_id:path}", run),
    ("/models", models),
    ("/models/{name:path}", versions),
    ("/model/{id:int}", model),
    ("/diff", compare),
    ("/search", search),
)
