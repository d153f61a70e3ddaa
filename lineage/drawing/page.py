"""One HTML file about a model: what `lineage model` says, and the drawing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lineage.drawing.drawing import STYLE, Drawing, svg
from lineage.questions.model import ModelLineage

MISSING = "not recorded"
Section = tuple[str, list[tuple[str, str | None]]]


def page(found: ModelLineage, drawing: Drawing) -> str:
    """A document that needs nothing else: no network, no script."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_PAGE).render(
        title=drawing.title,
        picture=Markup(svg(drawing, style=False)),
        style=Markup(STYLE),
        sections=sections(found),
        tables=_tables(found),
        missing=MISSING,
    )


def sections(found: ModelLineage) -> list[Section]:
    """What is known, by heading; None: not recorded."""
    model, run, training = found.model, found.run, found.training
    result: list[Section] = [
        (
            "Model",
            [
                ("artifact", str(model.artifact_id)),
                ("architecture", model.architecture),
                ("framework", model.framework),
                ("created", model.created),
                ("state", model.state),
                ("place", model.uri),
            ],
        )
    ]
    for data in found.data:
        splits = ", ".join(f"{k} {v:,}" for k, v in (data.splits or {}).items())
        result.append(
            (
                "Data",
                [
                    ("source", data.source),
                    ("digest", data.digest),
                    ("images", _count(data.images)),
                    ("classes", _count(data.classes)),
                    ("splits", splits or None),
                    ("quarantined", _count(data.quarantined)),
                    ("span", _plain(data.span)),
                    ("version", _plain(data.version)),
                ],
            )
        )
    if found.schema is not None:
        frozen = {True: "from a file", False: "inferred", None: None}[found.schema.frozen]
        result.append(("Schema", [("origin", frozen), ("digest", found.schema.digest)]))
    if found.transform is not None:
        size = found.transform.image_size
        result.append(
            (
                "Transform",
                [
                    ("image size", "×".join(map(str, size)) if size else None),
                    ("resize", found.transform.resize),
                    ("digest", found.transform.digest),
                ],
            )
        )
    if training is not None:
        metrics = [(k.replace("_", " "), f"{v:.4f}") for k, v in training.metrics.items()]
        result.append(
            (
                "Training",
                [
                    *metrics,
                    ("seed", _plain(training.seed)),
                    ("parameters", _count(training.parameter_count)),
                    ("epochs", _plain(training.epochs_run)),
                    ("best epoch", _plain(training.best_epoch)),
                    ("seconds", _number(training.train_seconds)),
                    ("accelerator", training.accelerator),
                    ("latency, ms", _number(training.latency_ms)),
                    ("code digest", training.code_digest),
                ],
            )
        )
    if run is not None:
        result.append(
            (
                "Run",
                [
                    ("run", run.run_id),
                    ("pipeline", run.pipeline),
                    ("state", run.state),
                    ("started", run.started),
                    ("seconds", _number(run.duration_seconds)),
                    ("by", run.user),
                    ("host", run.host),
                    ("platform", run.platform),
                    ("processors", _plain(run.cpus)),
                    ("folder", run.directory),
                ],
            )
        )
        result.append(
            (
                "Code",
                [
                    ("commit", _commit(run.git_commit, run.git_dirty)),
                    ("visionline", _commit(run.visionline_git_commit, run.visionline_git_dirty)),
                    ("Python", run.python),
                    ("packages digest", run.packages_digest),
                    ("lock digest", run.lock_digest),
                ],
            )
        )
    return result


def _tables(found: ModelLineage) -> list[tuple[str, Sequence[str], list[list[str | None]]]]:
    """Heading, columns and rows of what there are several of."""
    yes = {True: "blessed", False: "not blessed", None: None}
    tables: list[tuple[str, Sequence[str], list[list[str | None]]]] = [
        (
            "Judged",
            ("when", "verdict", "accuracy", "baseline", "its accuracy", "why"),
            [
                [
                    v.when,
                    yes[v.blessed],
                    _number(v.accuracy, 4),
                    v.baseline or "none",
                    _number(v.baseline_accuracy, 4) if v.baseline else "",
                    "; ".join(v.why_not_blessed),
                ]
                for v in found.verdicts
            ],
        ),
        (
            "In the server",
            ("when", "verdict", "engine", "REST, ms", "gRPC, ms", "why"),
            [
                [
                    t.when,
                    yes[t.blessed] if t.skipped is None else "skipped",
                    t.engine if t.skipped is None else "",
                    _number(t.rest_p50_ms),
                    _number(t.grpc_p50_ms),
                    t.skipped or t.why_not_blessed or "",
                ]
                for t in found.infra_verdicts
            ],
        ),
        (
            "Pushed",
            ("name", "version", "when", "in serving", "place"),
            [
                [
                    p.name,
                    _plain(p.version),
                    p.when,
                    p.serving or "not known",
                    p.destination,
                ]
                for p in found.pushes
            ],
        ),
        (
            "Made by",
            ("step", "run", "seconds", "state"),
            [
                [s.component, s.run_id, _number(s.duration_seconds), s.state.lower()]
                for s in found.producers
            ],
        ),
    ]
    hyper = (found.training.hyper_parameters if found.training else None) or {}
    rows: list[list[str | None]] = [
        [k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)]
        for k, v in hyper.items()
    ]
    tables.append(("Hyper-parameters", ("name", "value"), rows))
    packages = (found.run.packages if found.run else None) or {}
    tables.append(("Packages", ("package", "version"), [[k, v] for k, v in packages.items()]))
    return [t for t in tables if t[2]]


def _plain(value: object) -> str | None:
    return None if value is None else str(value)


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _number(value: float | None, digits: int = 1) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _commit(commit: str | None, dirty: bool | None) -> str | None:
    return commit and commit + (", with changes" if dirty else "")


_PAGE: Any = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2128; --faint: #626b77; --rule: #d9dde3;
  --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --faint: #9aa3ae;
  --rule: #343a43; --ground: #14171b; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; color: var(--ink);
  background: var(--ground); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 1.75rem 0 .4rem; border-bottom: 1px solid var(--rule);
  padding-bottom: .25rem; }
main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 2.5rem; }
figure { margin: 0; }
figure svg { display: block; margin: 0 auto; }
section h2:first-child { margin-top: 0; }
dl { display: grid; grid-template-columns: 8.5rem minmax(0, 1fr); margin: 0; gap: .1rem 1rem; }
dt, th { color: var(--faint); font-weight: 400; }
dd { margin: 0; overflow-wrap: anywhere; }
.missing { color: var(--faint); font-style: italic; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td { min-width: 4rem; max-width: 28rem; overflow-wrap: anywhere; }
summary { font-weight: 600; margin: 1.75rem 0 .4rem; cursor: pointer; }
@media (max-width: 56rem) { main { grid-template-columns: minmax(0, 1fr); }
  dl { grid-template-columns: 7.5rem minmax(0, 1fr); } }
{{ style }}
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% macro said(value) %}
{% if value is none %}<span class="missing">{{ missing }}</span>{% else %}{{ value }}{% endif %}
{% endmacro %}
{% macro rows(columns, lines) %}
<div class="scroll"><table>
<tr>{% for c in columns %}<th>{{ c }}</th>{% endfor %}</tr>
{% for line in lines %}
<tr>{% for value in line %}<td>{{ said(value) }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endmacro %}
<main>
<figure>{{ picture }}</figure>
<section>
{% for heading, facts in sections %}
<h2>{{ heading }}</h2>
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ said(value) }}</dd>
{% endfor %}
</dl>
{% endfor %}
</section>
</main>
{% for heading, columns, lines in tables %}
{% if lines | length > 12 %}
<details><summary>{{ heading }} ({{ lines | length }})</summary>{{ rows(columns, lines) }}</details>
{% else %}
<h2>{{ heading }}</h2>
{{ rows(columns, lines) }}
{% endif %}
{% endfor %}
</body>
</html>
"""
