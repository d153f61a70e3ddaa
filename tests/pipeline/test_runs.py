"""Runs after a run: cache, baseline, verdicts, validation, failures, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Demo, Store
from PIL import Image

from modelstore.artifact import model_digest
from pipeline.config import PipelineConfig
from pipeline.demo import demo_config
from pipeline.run.session import Finished, run_pipelines
from trainers.config import DistillationConfig

pytestmark = pytest.mark.pipelines

DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)


class Recorded:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def begin(self, title: str, detail: str) -> None: ...

    def handle(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def stop(self) -> None: ...


def _config(demo: Demo, framework: str = "keras", **changes: Any) -> PipelineConfig:
    """The demo's own config, with parts of it changed."""
    config = demo_config(demo.root, demo.images, framework)
    for part, values in changes.items():
        value = values
        if isinstance(values, dict):
            value = dataclasses.replace(getattr(config, part), **values)
        config = dataclasses.replace(config, **{part: value})
    return config


@pytest.fixture(scope="module")
def demo(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A copy, to be run on in."""
    root = tmp_path_factory.mktemp("later") / "demo"
    shutil.copytree(demo.root, root, symlinks=True)
    return dataclasses.replace(demo, root=root)


@pytest.fixture(scope="module")
def frozen(demo: Demo, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema of the demo's images."""
    path = tmp_path_factory.mktemp("frozen") / "schema.pbtxt"
    assert cli("schema", "--output", demo.workspace, "--freeze", path).returncode == 0
    return path


@pytest.fixture(scope="module")
def eleven_classes(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images, and some of another class."""
    images = tmp_path_factory.mktemp("eleven") / "images"
    shutil.copytree(demo.images, images)
    (images / "ten").mkdir()
    for index, path in enumerate(sorted(demo.images.glob("1/*.png"))[:20]):
        Image.open(path).rotate(90 + index).save(images / "ten" / path.name)
    shutil.copy(next(demo.images.glob("2/*.png")), images / "ten" / "copy.png")
    (images / "eleven").mkdir()
    return images


@pytest.fixture(scope="module")
def display() -> Recorded:
    """What a person sees of the later runs."""
    return Recorded()


@pytest.fixture(scope="module")
def later_runs(demo: Demo, frozen: Path, eleven_classes: Path, display: Recorded) -> list[Finished]:
    """Eight more runs in one process, so that TFX is loaded once."""
    (demo.serving / "digits-broken" / "1").mkdir(parents=True)
    teacher = demo.serving / "digits-keras" / "1"
    configs = [
        # As before, unchanged.
        _config(demo),
        # PyTorch's model under Keras' name: the baseline is the Keras model.
        _config(demo, "pytorch", name="digits-keras", evaluate={"max_regression": 0.2}),
        # Changed training parameters, a teacher among them.
        _config(
            demo,
            train={"epochs": 1, "distillation": DistillationConfig(model=str(teacher))},
            evaluate={"min_accuracy": 0.05, "max_regression": 0.9},
        ),
        # A bar that cannot be reached.
        _config(demo, evaluate={"min_accuracy": 1.0, "min_class_accuracy": 1.0}),
        # Good enough, and slower than any server can be.
        _config(demo, infra_validation={"max_p99_ms": 0.001}),
        # What is served under the name cannot be compared with; and shall not be.
        _config(demo, name="digits-broken"),
        _config(demo, name="digits-broken", evaluate={"baseline": "none"}),
        # A class that is not in the schema; a run that fails is the last.
        _config(
            demo,
            data={"path": str(eleven_classes)},
            schema={"frozen": str(frozen)},
            run={"runner": "local"},
        ),
    ]
    return run_pipelines(configs, display)


def test_repeated_run_is_all_cache(demo: Demo, later_runs: list[Finished]) -> None:
    summary = later_runs[0].summary
    states = Store(demo.workspace).states(summary["run_id"])
    assert len(states) == 12 and set(states.values()) == {"CACHED"}
    assert summary["version"] == 1
    assert summary["accuracy"] == demo.summary["runs"][0]["accuracy"]


def test_baseline_is_the_model_last_pushed_whatever_made_it(
    demo: Demo, later_runs: list[Finished]
) -> None:
    keras, pytorch = demo.summary["runs"]
    summary = later_runs[1].summary
    assert summary["framework"] == "pytorch"
    assert summary["baseline_accuracy"] == pytest.approx(keras["accuracy"])
    assert (summary["baseline"]["state"], summary["baseline"]["version"]) == (
        "served",
        "digits-keras@1",
    )
    assert summary["accuracy"] == pytest.approx(pytorch["accuracy"])
    assert summary["blessed"] and summary["version"] == 2
    assert Store(demo.workspace).states(summary["run_id"])["Trainer"] == "CACHED"


def test_changed_training_parameter_runs_from_trainer_on(
    demo: Demo, later_runs: list[Finished]
) -> None:
    summary = later_runs[2].summary
    states = Store(demo.workspace).states(summary["run_id"])
    # The validator asks for the teacher's classes.
    data_steps = {*DATA_STEPS} - {"ExampleValidator"}
    assert {states[n] for n in data_steps} == {"CACHED"}
    assert {s for n, s in states.items() if n not in data_steps} == {"COMPLETE"}
    assert summary["version"] == 3


def test_a_teacher_is_recorded(demo: Demo, later_runs: list[Finished], cli: Cli) -> None:
    version = demo.serving / "digits-keras" / "3"
    asked = cli("lineage", "model", version, "--output", demo.workspace, "--json")
    assert asked.returncode == 0, asked.stderr
    training = json.loads(asked.stdout)["training"]
    teacher = demo.serving / "digits-keras" / "1"
    assert training["teacher"] == "digits-keras@1"
    assert training["teacher_digest"] == model_digest(teacher)


def test_unblessed_model_is_not_pushed(demo: Demo, later_runs: list[Finished]) -> None:
    summary = later_runs[3].summary
    assert summary["blessed"] is False
    assert summary["version"] is None and summary["where"] is None
    assert any("accuracy on all images is" in reason for reason in summary["why_not"])
    assert any("accuracy on class '" in reason for reason in summary["why_not"])
    assert sorted(p.name for p in (demo.serving / "digits-keras").glob("[0-9]*")) == ["1", "2", "3"]
    executions = Store(demo.workspace).executions(summary["run_id"])
    assert executions["Pusher"]["pushed"] == 0
    assert "Evaluator did not bless" in executions["InfraValidator"]["skipped"]
    assert not {"blessed", "why_not_blessed"} & executions["InfraValidator"].keys()
    assert summary["infra_validation"]["blessed"] is None
    assert not any("infra validation" in reason for reason in summary["why_not"])
    evaluator = executions["Evaluator"]
    failed = json.loads(evaluator["failed_thresholds"])
    (overall,) = (f for f in failed if f["kind"] == "min" and not f["slice"])
    assert overall["shortfall"] == pytest.approx(1.0 - summary["accuracy"])
    assert {"label"} in [set(f["slice"]) for f in failed]
    assert len(evaluator["why_not_blessed"].splitlines()) == len(failed)


def test_a_run_again_gives_the_same_weights(
    demo: Demo, later_runs: list[Finished], cli: Cli, tmp_path: Path
) -> None:
    recorded = demo.workspace / "runs" / later_runs[2].summary["run_id"]
    done = cli("run", "--again", recorded, "--output", tmp_path / "again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing that is recorded of it differs now." in done.stdout
    assert f"bit for bit those of {recorded.name}." in done.stdout
    assert (tmp_path / "again/serving/digits-keras/1/model.json").is_file()


def test_the_cache_is_explained(demo: Demo, later_runs: list[Finished], cli: Cli) -> None:
    def explain(index: int, component: str) -> dict[str, Any]:
        run_id = later_runs[index].summary["run_id"]
        asked = cli(
            *("lineage", "explain-cache", run_id, component),
            *("--output", demo.workspace, "--json"),
        )
        assert asked.returncode == 0, asked.stderr
        return dict(json.loads(asked.stdout))

    def causes(index: int, component: str) -> list[tuple[str, str, str, str]]:
        found = explain(index, component)
        assert found["outcome"] == "miss" and found["exact"]
        keys = ("component", "key", "before", "after")
        return [tuple(cause[k] for k in keys) for cause in found["root_causes"]]

    keras, pytorch = (run["run_id"] for run in demo.summary["runs"])
    unchanged, renamed, shorter, barred = range(4)
    assert explain(unchanged, "Pusher")["reused"]["run_id"] == keras
    assert explain(renamed, "Trainer")["reused"]["run_id"] == pytorch
    bar = ("Evaluator", "evaluate.max_regression", "0.01", "0.2")
    # It is nearest to PyTorch's own, which had another baseline: of that its inferrer tells.
    assert causes(renamed, "Evaluator") == [bar]
    why = causes(renamed, "BaselineInferrer")
    assert ("resolved_baseline.version", "digits-keras@1") in [(c[1], c[3]) for c in why]
    assert bar in causes(renamed, "Pusher")
    assert ("Trainer", "train.epochs", "20", "1") in causes(shorter, "Trainer")
    # Of the code and of the teacher.
    assert {c[1] for c in causes(shorter, "Trainer")} == {"train.epochs", "code_digest"}
    assert ("Trainer", "train.epochs", "20", "1") in causes(shorter, "Pusher")
    bars = {key for component, key, _, _ in causes(barred, "Evaluator")}
    assert {"evaluate.min_accuracy", "evaluate.min_class_accuracy"} <= bars


def test_runs_are_listed(demo: Demo, later_runs: list[Finished], cli: Cli) -> None:
    listed = json.loads(cli("lineage", "runs", "--output", demo.workspace, "--json").stdout)
    found = {run["run_id"]: run for run in listed["runs"]}
    for finished in later_runs[:7]:
        summary, run = finished.summary, found[finished.summary["run_id"]]
        assert run["metrics"]["accuracy"] == pytest.approx(summary["accuracy"], abs=1e-6)
        assert run["blessed"] == summary["blessed"]
        version = summary["version"]
        assert run["pushed"] == (f"{summary['name']}@{version}" if version else None)
    first = found[later_runs[0].summary["run_id"]]
    assert (first["cached"], first["executed"], first["pushed_before"]) == (12, 0, True)


def test_a_run_that_changed_nothing_says_that_its_model_is_served_already(
    demo: Demo, later_runs: list[Finished], capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from pipeline.run.closing import print_outcome

    assert print_outcome(later_runs[0], Console(width=500)) == 0
    printed = capsys.readouterr().out
    manifest = json.loads((demo.serving / "digits-keras" / "1" / "manifest.json").read_text())
    assert f"version 1 already, pushed at {manifest['pushed_at']}" in printed
    assert "Pushed digits" not in printed


def test_unblessed_run_says_so_and_exits_non_zero(
    demo: Demo, later_runs: list[Finished], cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from pipeline.run.closing import print_outcome

    assert print_outcome(later_runs[3], Console()) == 3
    printed = capsys.readouterr().out
    assert "Not blessed, so not pushed." in printed
    assert "below the least allowed 1.0000" in printed
    assert "In the server: skipped: not tried, since the Evaluator did not" in printed


def test_a_model_that_the_server_will_not_do_with_is_not_pushed(
    demo: Demo, later_runs: list[Finished], cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from pipeline.run.closing import print_outcome

    summary = later_runs[4].summary
    assert summary["blessed"] is False and summary["version"] is None
    (reason,) = summary["why_not"]
    assert reason.startswith("infra validation: 99 of 100 requests over rest took up to")
    executions = Store(demo.workspace).executions(summary["run_id"])
    assert executions["Evaluator"]["blessed"] == 1
    assert executions["InfraValidator"]["blessed"] == 0
    assert executions["InfraValidator"]["state"] == "COMPLETE"
    assert executions["Pusher"]["pushed"] == 0
    assert print_outcome(later_runs[4], Console(width=500)) == 3
    assert reason in capsys.readouterr().out
    asked = cli("lineage", "why-not-blessed", summary["run_id"], "--output", demo.workspace)
    assert asked.returncode == 0 and "not blessed by infra validation" in asked.stdout


def test_without_the_comparison_that_is_due_nothing_is_pushed(
    demo: Demo, later_runs: list[Finished], cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from pipeline.run.closing import print_outcome

    stopped, pushed = later_runs[5], later_runs[6]
    summary = stopped.summary
    assert summary["blessed"] is False and summary["version"] is None
    assert summary["baseline"]["state"] == "unusable" and summary["baseline_accuracy"] is None
    (reason,) = summary["why_not"]
    assert "could not be compared with digits-broken@1" in reason and "--no-baseline" in reason
    assert print_outcome(stopped, Console(width=500)) == 3
    assert reason in capsys.readouterr().out
    executions = Store(demo.workspace).executions(summary["run_id"])
    assert (executions["Evaluator"]["blessed"], executions["Pusher"]["pushed"]) == (0, 0)
    asked = cli("lineage", "why-not-blessed", summary["run_id"], "--output", demo.workspace)
    assert "could not be compared with" in asked.stdout
    assert print_outcome(pushed, Console(width=500)) == 0
    assert "not compared with what is served" in capsys.readouterr().out
    assert pushed.summary["version"] == 2


def test_new_class_stops_the_run_of_a_frozen_schema(demo: Demo, later_runs: list[Finished]) -> None:
    """By TFX's LocalDagRunner; the rest of the tests run on Beam's."""
    finished = later_runs[7]
    assert finished.state == "failed"
    assert "ExampleValidator" in finished.error and "'ten'" in finished.error
    assert "unseen-class" in finished.error, "it says how to accept the anomaly"
    run_id = finished.log.parent.name
    executions = Store(demo.workspace).executions(run_id)
    assert executions["ImageExampleGen"]["state"] == "COMPLETE"
    assert executions["ExampleValidator"]["state"] == "FAILED"
    assert "'ten'" in executions["ExampleValidator"]["error"]
    assert "Transform" not in executions


def test_what_a_person_should_know_of_the_images_is_said_once_and_kept(
    demo: Demo, later_runs: list[Finished], display: Recorded
) -> None:
    told = [e["text"] for e in display.events if e["kind"] == "note"]
    (empty,) = (text for text in told if text.startswith("Without an image"))
    (pair,) = (text for text in told if "under more than one label" in text)
    assert "eleven (empty)" in empty and "(2) and ten/copy.png (ten)" in pair
    reports = Store(demo.workspace).store.get_artifacts_by_type("IngestionReport")
    report = max(reports, key=lambda a: a.id)
    kept = json.loads((Path(report.uri) / "report.json").read_text("utf-8"))["notices"]
    assert kept == [empty, pair]
