"""What `lineage model` prints: one section for each thing that made the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.words import cell, flat, known, moment, seconds, share, short, size
from pipeline.terminal import NOT_RECORDED, console, is_terminal, sections, table

if TYPE_CHECKING:
    from lineage.graph import facts as lineage
    from lineage.graph.marks import Erasure
    from lineage.questions.model import ModelLineage

Pairs = list[tuple[str, str]]


def show_model(found: ModelLineage, *, config: bool = False, packages: bool = False) -> None:
    """Prints a model's lineage.

    Args:
      config: the run's whole config, too.
      packages: the installed packages, too.
    """
    sections(_sections(found))
    _show_producers(found)
    more: list[tuple[str, Pairs]] = []
    if config:
        settings = found.run.config if found.run else None
        more.append(("config", flat(settings) if settings else [("config", NOT_RECORDED)]))
    if packages:
        installed = found.run.packages if found.run else None
        pairs = sorted(installed.items()) if installed else [("packages", NOT_RECORDED)]
        more.append(("packages", pairs))
    for title, pairs in more:
        heading("")
        sections([(title, pairs)])


def _sections(found: ModelLineage) -> list[tuple[str, Pairs]]:
    several = len(found.data) > 1
    data = [(f"data {i}" if several else "data", _data(d)) for i, d in enumerate(found.data, 1)]
    verdicts = [("judged by", _verdict(v)) for v in found.verdicts]
    trials = [
        ("tried in the server" if t.skipped is None else "not tried in the server", _trial(t))
        for t in found.infra_verdicts
    ]
    pushes = [("pushed to", _push(p)) for p in found.pushes]
    return [
        ("model", _model(found)),
        *(data or [("data", [("images", NOT_RECORDED)])]),
        *[("withdrawn data", _withdrawn(e, found.model.artifact_id)) for e in found.withdrawn],
        ("schema", _schema(found.schema)),
        ("transform", _transform(found.transform)),
        ("training", _training(found.training, found.run)),
        ("run", _run(found.run)),
        *(verdicts or [("judged by", [("verdict", "nothing: it was never evaluated")])]),
        *trials,
        *(pushes or [("pushed to", [("place", "nowhere")])]),
    ]


def _digest(value: str | None) -> str:
    return NOT_RECORDED if value is None else short(value)


def _model(found: ModelLineage) -> Pairs:
    model, training = found.model, found.training
    parameters = training.parameter_count if training else None
    framework = model.framework or (training.framework if training else None)
    architecture = model.architecture or (training.architecture if training else None)
    return [
        ("framework", known(framework)),
        ("architecture", known(architecture)),
        ("parameters", NOT_RECORDED if parameters is None else f"{parameters:,}"),
        ("made", moment(model.created)),
        ("artifact", f"{model.artifact_id} ({model.state})"),
        ("place", model.uri),
    ]


def _data(data: lineage.DataFacts) -> Pairs:
    splits = data.splits and ", ".join(f"{k} {v:,}" for k, v in sorted(data.splits.items()))
    span = data.span if data.version is None else f"{data.span}, version {data.version}"
    return [
        ("digest", _digest(data.digest)),
        ("span", known(span)),
        ("images", known(data.images)),
        ("by split", splits or NOT_RECORDED),
        ("classes", known(data.classes)),
        ("quarantined", known(data.quarantined)),
        ("source", known(data.source)),
        ("place", data.uri),
    ]


def _withdrawn(erasure: Erasure, model_id: int) -> Pairs:
    images = len(erasure.sha256)
    return [
        ("images", f"{images} erased"),
        (
            "used",
            {"trained": "trained on them", "selected": "selected by them"}.get(
                use := erasure.models[model_id], f"{use}: see `visionline lineage affected`"
            ),
        ),
        ("when", moment(erasure.when) if erasure.when else NOT_RECORDED),
        ("why", known(erasure.reason)),
    ]


def _schema(schema: lineage.SchemaFacts | None) -> Pairs:
    if schema is None:
        return [("schema", NOT_RECORDED)]
    made = {True: "frozen, from a file", False: "inferred from the data", None: NOT_RECORDED}
    return [
        ("digest", _digest(schema.digest)),
        ("made", made[schema.frozen]),
        ("place", schema.uri),
    ]


def _transform(transform: lineage.TransformFacts | None) -> Pairs:
    if transform is None:
        return [("transform", NOT_RECORDED)]
    size_ = transform.image_size
    return [
        ("digest", _digest(transform.digest)),
        ("image size", "×".join(map(str, size_)) if size_ else NOT_RECORDED),
        ("resize", known(transform.resize)),
        ("code", _digest(transform.code_digest)),
        ("place", transform.uri),
    ]


def _training(training: lineage.TrainingFacts | None, run: lineage.RunFacts | None) -> Pairs:
    if training is None:
        return [("training", NOT_RECORDED)]
    settings = flat(training.hyper_parameters) if training.hyper_parameters else []
    epochs = known(training.epochs_run)
    if training.best_epoch is not None:
        epochs += f", the best was {training.best_epoch}"
    metrics = ", ".join(f"{k} {v:.4f}" for k, v in training.metrics.items())
    latency = training.latency_ms
    return [
        ("settings", ", ".join(f"{k} {v}" for k, v in settings) or NOT_RECORDED),
        ("seed", known(training.seed)),
        ("hardware", known(training.accelerator)),
        ("code", _digest(training.code_digest)),
        ("epochs", epochs),
        ("time", _time(training.train_seconds)),
        ("memory", size(training.peak_memory_bytes)),
        ("metrics", metrics or NOT_RECORDED),
        ("latency", NOT_RECORDED if latency is None else _latency_of(latency, run)),
    ]


def _latency_of(milliseconds: float, run: lineage.RunFacts | None) -> str:
    """A latency says nothing without what it is of."""
    machine = run.host if run and run.host else "the machine that trained it"
    if run and run.cpus:
        machine += f" with {run.cpus} CPUs"
    return f"{milliseconds:.2f} ms in ONNX Runtime, batches of 1, on {machine}"


def _run(run: lineage.RunFacts | None) -> Pairs:
    if run is None:
        return [("run", NOT_RECORDED)]
    machine = ", ".join(filter(None, (run.platform, f"{run.cpus} CPUs" if run.cpus else None)))
    packages = NOT_RECORDED
    if run.packages is not None:
        packages = f"{len(run.packages)}, digest {_digest(run.packages_digest)}"
    return [
        ("run", run.run_id),
        ("pipeline", known(run.pipeline)),
        ("state", run.state if run.error is None else f"{run.state}: {run.error}"),
        ("who", known(run.user)),
        ("started", moment(run.started)),
        ("took", _time(run.duration_seconds)),
        ("host", known(run.host)),
        ("machine", machine or NOT_RECORDED),
        ("directory", known(run.directory)),
        ("commit", _commit(run.git_commit, run.git_dirty)),
        ("visionline", _commit(run.visionline_git_commit, run.visionline_git_dirty)),
        ("config", _digest(run.config_digest)),
        ("python", known(run.python)),
        ("packages", packages),
        ("lock file", _digest(run.lock_digest)),
    ]


def _commit(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return NOT_RECORDED
    return _digest(commit) + (", with uncommitted changes" if dirty else "")


def _time(value: float | None) -> str:
    return NOT_RECORDED if value is None else seconds(value)


def _verdict(verdict: lineage.Verdict) -> Pairs:
    blessed = {True: "blessed", False: "not blessed", None: NOT_RECORDED}[verdict.blessed]
    baseline = "none"
    if verdict.baseline is not None:
        baseline = f"{verdict.baseline}, accuracy {share(verdict.baseline_accuracy)}"
    reasons = [("why not", reason) for reason in verdict.why_not_blessed]
    if verdict.blessed is False and not reasons:
        reasons = [("why not", NOT_RECORDED)]
    return [
        ("verdict", blessed),
        *reasons,
        ("accuracy", _number(verdict.accuracy)),
        ("baseline", baseline),
        ("loss", _number(verdict.loss)),
        ("top-k accuracy", _number(verdict.top_k_accuracy)),
        ("calibration error", _number(verdict.expected_calibration_error)),
        ("images", known(verdict.examples)),
        ("when", moment(verdict.when)),
        ("run", known(verdict.run_id)),
    ]


def _trial(trial: lineage.InfraVerdict) -> Pairs:
    where = [("when", moment(trial.when)), ("run", known(trial.run_id))]
    if trial.skipped is not None:
        return [("verdict", f"skipped: {trial.skipped}"), *where]
    blessed = {True: "blessed", False: "not blessed", None: NOT_RECORDED}[trial.blessed]
    why = [("why not", trial.why_not_blessed or NOT_RECORDED)] if trial.blessed is False else []
    return [
        ("verdict", blessed),
        *why,
        ("engine", known(trial.engine)),
        ("loading", _time(trial.loading_seconds)),
        ("over REST", _latency(trial.rest_p50_ms, trial.rest_p99_ms)),
        ("over gRPC", _latency(trial.grpc_p50_ms, trial.grpc_p99_ms)),
        ("images", known(trial.examples)),
        *where,
    ]


def _latency(p50_ms: float | None, p99_ms: float | None) -> str:
    if p50_ms is None or p99_ms is None:
        return NOT_RECORDED
    return (
        f"{p50_ms:.2f} ms, 99 % within {p99_ms:.2f} ms; one image a request, one after the "
        "other, on the machine of that run"
    )


def _number(value: float | None) -> str:
    return NOT_RECORDED if value is None else share(value)


def _push(push: lineage.Push) -> Pairs:
    states = {
        "latest": "yes, the latest version",
        "kept": "no, kept beside a newer version",
        "removed": "no, removed",
        None: _not_seen(push.destination),
    }
    name = NOT_RECORDED if push.name is None else f"{push.name}@{push.version}"
    return [
        ("name", name),
        ("place", known(push.destination)),
        ("in serving", states[push.serving]),
        ("when", moment(push.when)),
        ("run", known(push.run_id)),
    ]


def _not_seen(destination: str | None) -> str:
    """Why it is not known whether a version is in serving."""
    if destination is None:
        return "not known"
    if "://" in destination:
        return "not known: it is not on this machine"
    return f"not known: {Path(destination).parent.parent} is not on this machine"


def heading(text: str) -> None:
    """A line apart, for a terminal only."""
    if is_terminal():
        console().print(f"\n{text}" if text else "", style="bold", markup=False, highlight=False)


def _show_producers(found: ModelLineage) -> None:
    rows = [
        (
            step.component,
            cell(step.run_id),
            moment(step.started),
            seconds(step.duration_seconds),
            "reused" if step.execution_id in found.reused else "",
        )
        for step in found.producers
    ]
    heading("made by")
    table(("component", "run", "when", "time", "reused"), rows, optional=("when", "run"))
