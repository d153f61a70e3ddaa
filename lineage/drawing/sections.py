"""The table of a model's facts, which terminal, page, file and picture all draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.formats import count, counts, duration, flat, milliseconds, minute, share, short, size
from lineage.graph import facts
from lineage.graph.marks import Erasure
from lineage.graph.measured import NAMES, TASK
from lineage.questions.model import ModelLineage

Kind = Literal["text", "digest", "moment", "state", "run", "version", "model"]
"""How a value may be drawn: a digest or moment is shortened, a state has a colour, the name
of a run, version or model leads to its page."""
_TITLES = {"top_k_accuracy": "top-k accuracy"}
_VERDICTS = {True: "blessed", False: "not blessed", None: None}
_SERVING = {
    "latest": ("yes, the latest version", "latest in serving"),
    "kept": ("no, kept beside a newer version", "in serving"),
    "removed": ("no, removed", "removed"),
}
"""Whether a push is in serving, in a table and in a picture."""
_MEASURED = "one image a request, one after the other, on the machine of that run"


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str | None
    """None: not recorded.  Digests and moments are whole."""
    note: str = ""
    """What is to be said after the value."""
    kind: Kind = "text"
    leads_to: str | int | None = None
    """A version's name, a model's artifact id."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Names and values that there may be many of."""

    label: str
    pairs: tuple[tuple[str, str], ...]
    folded: bool = True
    """Shown where it is asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one thing."""

    facts: tuple[Fact, ...]
    record: int | None = None
    """The artifact's or execution's id; None: there is no such thing."""
    brief: tuple[str, ...] = ()
    """The same in up to three short lines, for a picture."""
    settings: tuple[Settings, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    entries: tuple[Entry, ...]
    """At least one."""
    listed: bool = False
    """Many alike, which are best drawn as rows."""
    warns: bool = False


def sections(lineage: ModelLineage) -> tuple[Section, ...]:
    """Returns everything that is recorded of a model, in the order in which it is shown."""
    run, training = lineage.run, lineage.training
    schema, transform = lineage.schema, lineage.transform
    data = tuple(map(_data, lineage.data))
    verdicts = tuple(map(_verdict, lineage.verdicts))
    never = _nothing("verdict", "nothing: it was never evaluated")
    trials = tuple(map(_trial, lineage.infra_verdicts))
    pushes = tuple(map(_push, lineage.pushes))
    withdrawn = tuple(_withdrawn(e, lineage.model.artifact_id) for e in lineage.withdrawn)
    return (
        Section("model", (_model(lineage),)),
        Section("data", data or _nothing("images")),
        *[Section("withdrawn data", (e,), warns=True) for e in withdrawn],
        Section("schema", (_schema(schema),) if schema else _nothing("schema")),
        Section("transform", (_transform(transform),) if transform else _nothing("transform")),
        Section("training", (_training(training, run),) if training else _nothing("training")),
        Section("run", (_run(run),) if run else _nothing("run")),
        Section("judged by", verdicts or never, listed=True),
        *([Section("in the server", trials, listed=True)] if trials else []),
        Section("pushed to", pushes or _nothing("place", "nowhere"), listed=True),
    )


def figures(lineage: ModelLineage) -> tuple[Fact, ...]:
    """Returns the few numbers that a model is known by."""
    training = lineage.training
    verdict = lineage.verdicts[-1] if lineage.verdicts else None
    trials = [t for t in lineage.infra_verdicts if t.grpc_p50_ms is not None]
    latency, of = training.latency_ms if training else None, "ONNX Runtime, batches of 1"
    if trials:
        latency, of = trials[-1].grpc_p50_ms, "one image a request, over gRPC"
    headline = _form(verdict.headline_value if verdict else None, share)
    images = _form(verdict.examples if verdict else None, count, "of {} images") or ""
    return (
        Fact(verdict.headline if verdict else TASK.HEADLINE, headline, images),
        Fact("latency", _form(latency, milliseconds), "" if latency is None else of),
        Fact("parameters", _form(training.parameter_count if training else None, count)),
        Fact("images", _form(lineage.data[0].images if lineage.data else None, count)),
        Fact("trained in", _form(training.train_seconds if training else None, duration)),
    )


def _model(lineage: ModelLineage) -> Entry:
    model, training = lineage.model, lineage.training
    framework = model.framework or (training.framework if training else None)
    architecture = model.architecture or (training.architecture if training else None)
    value = training.metrics.get(f"val_{TASK.HEADLINE}") if training else None
    return Entry(
        (
            Fact("framework", framework),
            Fact("architecture", architecture),
            Fact("parameters", _form(training.parameter_count if training else None, count)),
            Fact("made", model.created, kind="moment"),
            Fact("artifact", f"{model.artifact_id} ({model.state})"),
            Fact("place", model.uri),
        ),
        model.artifact_id,
        brief_lines(
            ", ".join(brief_lines(model.architecture, model.framework)),
            _form(value, share, f"validation {TASK.HEADLINE} {{}}"),
            f"artifact {model.artifact_id}",
        ),
    )


def _data(data: facts.DataFacts) -> Entry:
    images, classes = _form(data.images, count), _form(data.classes, count)
    return Entry(
        (
            Fact("digest", data.digest, kind="digest"),
            Fact("span", _form(data.span), _form(data.version, str, "version {}") or ""),
            Fact("images", images),
            Fact("by split", counts(dict(sorted(data.splits.items()))) if data.splits else None),
            Fact("classes", classes),
            Fact("quarantined", _form(data.quarantined, count)),
            Fact("source", data.source),
            Fact("place", data.uri),
        ),
        data.artifact_id,
        brief_lines(
            ", ".join(brief_lines(images and f"{images} images", classes and f"{classes} classes")),
            _form(data.digest, short, "digest {}"),
            _form(data.span, str, "span {}"),
        ),
    )


def _withdrawn(erasure: Erasure, model_id: int) -> Entry:
    use = erasure.models[model_id]
    uses = {"trained": "trained on them", "selected": "selected by them"}
    return Entry(
        (
            Fact("images", f"{len(erasure.sha256)} erased"),
            Fact("used", uses.get(use, f"{use}: see `visionline lineage affected`")),
            Fact("when", erasure.when, kind="moment"),
            Fact("why", erasure.reason),
        )
    )


def _schema(schema: facts.SchemaFacts) -> Entry:
    made = {True: "frozen, from a file", False: "inferred from the data", None: None}
    return Entry(
        (
            Fact("digest", schema.digest, kind="digest"),
            Fact("made", made[schema.frozen]),
            Fact("place", schema.uri),
        ),
        schema.artifact_id,
        brief_lines("frozen" if schema.frozen else None, _form(schema.digest, short, "digest {}")),
    )


def _transform(transform: facts.TransformFacts) -> Entry:
    side = "×".join(map(str, transform.image_size or ())) or None
    return Entry(
        (
            Fact("digest", transform.digest, kind="digest"),
            Fact("image size", side),
            Fact("resize", transform.resize),
            Fact("code", transform.code_digest, kind="digest"),
            Fact("place", transform.uri),
        ),
        transform.artifact_id,
        brief_lines(
            ", ".join(brief_lines(side, transform.resize)),
            _form(transform.digest, short, "digest {}"),
        ),
    )


def _training(training: facts.TrainingFacts, run: facts.RunFacts | None) -> Entry:
    best = training.best_epoch if training.epochs_run is not None else None
    # A latency says nothing without what it is of.
    machine = run.host if run and run.host else "the machine that trained it"
    machine += f" with {run.cpus} CPUs" if run and run.cpus else ""
    of = f"in ONNX Runtime, batches of 1, on {machine}"
    latency = _form(training.latency_ms, milliseconds)
    metrics = ", ".join(f"{k} {share(v)}" for k, v in training.metrics.items())
    return Entry(
        (
            Fact("seed", _form(training.seed)),
            Fact("hardware", training.accelerator),
            Fact("code", training.code_digest, kind="digest"),
            *([Fact("teacher", training.teacher)] if training.teacher else []),
            Fact("epochs", _form(training.epochs_run), _form(best, str, "the best was {}") or ""),
            Fact("time", _form(training.train_seconds, duration)),
            Fact("memory", _form(training.peak_memory_bytes, size)),
            Fact("metrics", metrics or None),
            Fact("latency", latency, of if latency else ""),
        ),
        training.execution_id,
        settings=(_settings("settings", training.hyper_parameters, folded=False),),
    )


def _run(run: facts.RunFacts) -> Entry:
    machine = ", ".join(brief_lines(run.platform, _form(run.cpus, str, "{} CPUs")))
    packages = "" if run.packages is None else f"{len(run.packages)} packages"
    return Entry(
        (
            Fact("run", run.run_id, kind="run"),
            Fact("pipeline", run.pipeline),
            Fact("state", run.state, kind="state"),
            *([Fact("error", run.error)] if run.error else []),
            Fact("who", run.user),
            Fact("started", run.started, kind="moment"),
            Fact("took", _form(run.duration_seconds, duration)),
            Fact("host", run.host),
            Fact("machine", machine or None),
            Fact("directory", run.directory),
            _commit("commit", run.git_commit, run.git_dirty),
            _commit("visionline", run.visionline_git_commit, run.visionline_git_dirty),
            Fact("config", run.config_digest, kind="digest"),
            Fact("python", run.python),
            Fact("packages", run.packages_digest, packages, kind="digest"),
            Fact("lock file", run.lock_digest, kind="digest"),
        ),
        settings=(_settings("config", run.config), _settings("packages", run.packages)),
    )


def _commit(label: str, commit: str | None, dirty: bool | None) -> Fact:
    changed = commit is not None and dirty
    return Fact(label, commit, "with uncommitted changes" if changed else "", kind="digest")


def _verdict(verdict: facts.Verdict) -> Entry:
    value, images = _form(verdict.headline_value, share), _form(verdict.examples, count)
    baseline = Fact("baseline", "none")
    if verdict.baseline is not None:
        than = _form(verdict.baseline_value, share, f"{verdict.headline} {{}}") or ""
        id_ = verdict.baseline_model_id
        baseline = Fact("baseline", verdict.baseline, than, kind="model", leads_to=id_)
    return Entry(
        (
            Fact("verdict", _VERDICTS[verdict.blessed], kind="state"),
            *_why_not(verdict.blessed, verdict.why_not_blessed),
            Fact(verdict.headline, value),
            baseline,
            *[
                Fact(_TITLES.get(name, name), _form(verdict.metrics.get(name), share))
                for name in NAMES
                if name != verdict.headline
            ],
            Fact("calibration error", _form(verdict.expected_calibration_error, share)),
            Fact("images", images),
            *_when(verdict),
        ),
        verdict.execution_id,
        brief_lines(
            _form(value, str, f"{verdict.headline} {{}}"),
            _form(images, str, "{} images"),
            *verdict.why_not_blessed,
        ),
    )


def _trial(trial: facts.InfraVerdict) -> Entry:
    latency = _form(trial.grpc_p50_ms, milliseconds, "{} over gRPC")
    brief = brief_lines(trial.skipped, trial.why_not_blessed, trial.engine, latency)
    if trial.skipped is not None:
        skipped = (Fact("verdict", "skipped", kind="state"), Fact("why not", trial.skipped))
        return Entry((*skipped, *_when(trial)), trial.execution_id, brief)
    return Entry(
        (
            Fact("verdict", _VERDICTS[trial.blessed], kind="state"),
            *_why_not(trial.blessed, brief_lines(trial.why_not_blessed)),
            Fact("engine", trial.engine),
            Fact("loading", _form(trial.loading_seconds, duration)),
            _latency("over REST", trial.rest_p50_ms, trial.rest_p99_ms),
            _latency("over gRPC", trial.grpc_p50_ms, trial.grpc_p99_ms),
            *([Fact("latency of", _MEASURED)] if latency else []),
            Fact("images", _form(trial.examples, count)),
            *_when(trial),
        ),
        trial.execution_id,
        brief,
    )


def _when(done: facts.Verdict | facts.InfraVerdict | facts.Push) -> tuple[Fact, Fact]:
    return Fact("when", done.when, kind="moment"), Fact("run", done.run_id, kind="run")


def _why_not(blessed: bool | None, reasons: Any) -> list[Fact]:
    if blessed is False and not reasons:
        return [Fact("why not", None)]
    return [Fact("why not", reason) for reason in reasons]


def _latency(label: str, p50_ms: float | None, p99_ms: float | None) -> Fact:
    note = _form(p99_ms, milliseconds, "99 % within {}") or ""
    return Fact(label, _form(p50_ms, milliseconds), note if p50_ms is not None else "")


def _push(push: facts.Push) -> Entry:
    name = None if push.name is None else f"{push.name}@{push.version}"
    unseen = (_not_seen(push.destination), "not seen from here")
    whole, brief = _SERVING[push.serving] if push.serving else unseen
    return Entry(
        (
            Fact("name", name, kind="version", leads_to=push.name),
            Fact("place", push.destination),
            Fact("in serving", whole),
            *_when(push),
        ),
        push.artifact_id,
        (brief, minute(push.when)),
    )


def _not_seen(destination: str | None) -> str:
    """Says why it is not known whether a version is in serving."""
    if destination is None:
        return "not known"
    place = "it" if "://" in destination else str(Path(destination).parent.parent)
    return f"not known: {place} is not on this machine"


def _nothing(label: str, text: str | None = None) -> tuple[Entry]:
    return (Entry((Fact(label, text),)),)


def _settings(label: str, table: Mapping[str, Any] | None, folded: bool = True) -> Settings:
    return Settings(label, tuple(flat(table or {})), folded)


def _form(value: Any, form: Any = str, text: str = "{}") -> str | None:
    return None if value is None else text.format(form(value))


def brief_lines(*lines: str | None) -> tuple[str, ...]:
    """Returns the first three lines that there are."""
    return tuple(line for line in lines if line)[:3]
