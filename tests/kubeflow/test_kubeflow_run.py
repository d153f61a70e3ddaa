"""A whole compiled pipeline, task by task, to a pushed model; and what came of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import Cli, Demo

from pipeline.kubeflow.step import WORKSPACE

pytestmark = pytest.mark.pipelines

SMALL = 40
"""Images of each class."""
PIPELINE = "trainer"
"""Called like a task, which is in its URIs too."""
IMAGES, SERVING = "images $$a", "serving {{workflow.name}}"
"""Names of folders that Argo and Kubernetes would expand."""


@pytest.fixture(scope="module")
def volume(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for the claim: a few hundred digits."""
    volume = tmp_path_factory.mktemp("volume")
    for place in demo.images.iterdir():
        if place.is_dir():
            folder = volume / IMAGES / place.name
            folder.mkdir(parents=True)
            for image in sorted(place.iterdir())[:SMALL]:
                (folder / image.name).write_bytes(image.read_bytes())
    return volume


@pytest.fixture(scope="module")
def package(volume: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubeflow")
    (folder / "config.toml").write_text(f"""
name = "digits"
pipeline = "{PIPELINE}"
data.path = "{volume}/{IMAGES}"
transform.image_size = 16
evaluate.min_accuracy = 0.2
push.destination = "{volume}/{SERVING}"
train.framework = "keras"
train.model = "small_cnn"
train.epochs = 30
train.learning_rate = 0.005
train.batch_size = 32
[kubeflow]
image = "none"
pipeline_root = "minio://mlpipeline/artifacts"
volumes = [{{claim = "data", mount = "{volume}"}}]
""")
    done = cli("kubeflow", "compile", folder / "config.toml", "--output", folder / "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    return folder / "pipeline.yaml"


def run(cli: Cli, package: Path, *arguments: object) -> tuple[int, dict[str, str], str]:
    """Exit code, state by task, and what was printed."""
    done = cli(
        *("kubeflow", "run", package, "--output", package.parent / "out"),
        *arguments,
    )
    words = [line.split() for line in done.stdout.splitlines()]
    states = {w[0]: w[1] for w in words if len(w) > 1 and w[1] in ("done", "cached", "failed")}
    return done.returncode, states, done.stdout + done.stderr


@pytest.fixture(scope="module")
def first(cli: Cli, package: Path) -> tuple[dict[str, str], str]:
    """The compiled defaults are overridden: another framework, fewer epochs."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    code, states, told = run(cli, package, "--framework", "pytorch", "--epochs", "6")
    if code:
        logs = (package.parent / "out" / "logs").rglob("*.log")
        told += "\n".join(f"{p.name}: {p.read_text()[-2000:]}" for p in logs)
    assert code == 0, told
    return states, told


@pytest.fixture(scope="module")
def second(first: object, cli: Cli, package: Path) -> tuple[dict[str, str], str]:
    """The same once more."""
    code, states, told = run(cli, package, "--framework", "pytorch", "--epochs", "6")
    assert code == 0, told
    return states, told


def lineages(package: Path) -> list[Path]:
    """What the pushers recorded, the oldest first."""
    found = (package.parent / "out").rglob("pusher/*/lineage")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def test_every_task_ran_to_a_pushed_model(first, package: Path, volume: Path) -> None:
    states, _ = first
    assert set(states) == set(
        yaml.safe_load_all(package.read_text()).__next__()["root"]["dag"]["tasks"]
    )
    assert set(states.values()) == {"done"}
    card = json.loads((volume / SERVING / "digits" / "1" / "model.json").read_text())
    assert card["framework"] == "pytorch"
    assert card["config"]["epochs"] == 6


def test_nobody_else_can_change_what_was_pushed(first, volume: Path) -> None:
    """Tasks are started with umask 0, as Argo does."""
    pushed = [p for p in (volume / SERVING).rglob("*") if not p.is_symlink()]
    assert pushed and not [p for p in pushed if p.stat().st_mode & 0o022]


def test_what_came_of_it_is_told(first, volume: Path) -> None:
    _, told = first
    assert "Accuracy 0." in told and "The server loads it in" in told
    assert f"Pushed digits version 1 to {volume}/{SERVING}/digits/1" in told


def test_tasks_of_two_runs_share_no_folder(first) -> None:
    assert not Path(WORKSPACE).exists()


def test_a_task_s_log_has_times(first, package: Path) -> None:
    logs = list((package.parent / "out" / "logs").rglob("*.log"))
    assert logs
    for log in logs:
        lines = log.read_text("utf-8", "replace").split("\n")[:-1]
        assert [t for t in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z ", t)] == []


def test_the_model_answers(first, cli: Cli, volume: Path, demo: Demo) -> None:
    image = demo.kept[0]
    done = cli("predict", image, "--serving", volume / SERVING, "--json")
    (answer,) = json.loads(done.stdout)
    assert answer["name"] == "digits" and answer["version"] == 1


def test_what_produced_it_is_answered_from_the_record(
    first, cli: Cli, package: Path, volume: Path
) -> None:
    record = lineages(package)[0]
    store = package.parent / "imported.sqlite"
    for _ in range(2):  # the second adds nothing
        done = cli("lineage", "import", record, "--metadata", store)
        assert done.returncode == 0, done.stderr
    served = volume / SERVING / "digits" / "1"
    asked = cli("lineage", "model", served, "--metadata", store, "--json")
    found = json.loads(asked.stdout)
    assert found["model"]["framework"] == "pytorch"
    place = rf"minio://mlpipeline/artifacts/{PIPELINE}/(\S+)/trainer/[0-9a-f-]{{36}}/model"
    (run_id,) = re.fullmatch(place, found["model"]["uri"]).groups()
    assert found["run"]["run_id"] == run_id
    assert [data["source"] for data in found["data"]] == [f"{volume}/{IMAGES}"]
    assert found["infra_verdicts"][0]["blessed"]
    assert found["run"]["config"]["train"]["framework"] == "pytorch"
    runs = json.loads(cli("lineage", "runs", "--metadata", store, "--json").stdout)
    assert [r["state"] for r in runs["runs"]] == ["complete"]


def test_the_ui_has_something_to_draw(first, package: Path) -> None:
    out = package.parent / "out"
    for task in ("trainer", "evaluator"):
        (page,) = out.rglob(f"{task}/*/ui_report")
        assert "data:image/png;base64," in page.read_text()
        cached = [json.loads(p.read_text())["artifacts"] for p in (out / "cache").iterdir()]
        place = re.compile(rf"/{task}/[0-9a-f-]{{36}}/")
        (told,) = (c["ui_metrics"] for c in cached if place.search(str(c.get("ui_metrics"))))
        assert told["metadata"]["accuracy" if task == "evaluator" else "val_accuracy"] > 0


def test_a_run_repeated_takes_what_was_done_and_pushes_nothing_new(
    second: tuple[dict[str, str], str], volume: Path
) -> None:
    states, _ = second
    assert {k for k, v in states.items() if v == "done"} == {"resolve-data", "baseline", "pusher"}
    assert [p.name for p in (volume / SERVING / "digits").iterdir() if p.name.isdecimal()] == ["1"]


@pytest.mark.parametrize("order", [(1,), (0, 1), (1, 0)])
def test_a_run_that_took_its_steps_from_the_cache_is_imported_whole(
    second: object, cli: Cli, package: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    store = ("--metadata", tmp_path / "imported.sqlite")
    for place in (*order, order[0]):  # the last adds nothing
        done = cli("lineage", "import", lineages(package)[place], *store)
        assert done.returncode == 0, done.stderr
    told = json.loads(cli("lineage", "runs", *store, "--json").stdout)["runs"]
    runs = sorted(told, key=lambda run: run["started"])
    assert [(r["cached"], r["executed"]) for r in runs] == [(0, 11 + (0 in order)), (11, 1)]
    assert [r["state"] for r in runs] == ["complete" if 0 in order else "unknown", "complete"]
    assert runs[0]["metrics"]["accuracy"] == runs[1]["metrics"]["accuracy"] > 0
    assert [(r["pushed"], r["pushed_before"]) for r in runs][1] == ("digits@1", True)
    detail = json.loads(cli("lineage", "run", runs[1]["run_id"], *store, "--json").stdout)
    steps = {s["component"]: s for s in detail["steps"]}
    assert next(iter(steps)) == "ImageExampleGen" and list(steps)[-1] == "Pusher"
    assert {s["state"] for c, s in steps.items() if c != "Pusher"} == {"CACHED"}
    assert {s["reused"]["run_id"] for c, s in steps.items() if c != "Pusher"} == {runs[0]["run_id"]}
    model = json.loads(cli("lineage", "model", "digits@1", *store, "--json").stdout)
    assert model["run"]["run_id"] == runs[0]["run_id"]
    assert [v["run_id"] for v in model["verdicts"]] == [runs[0]["run_id"]]
    cause = cli("lineage", "explain-cache", runs[1]["run_id"], "Trainer", *store)
    assert "hit" in cause.stdout, cause.stdout + cause.stderr


def test_a_task_that_fails_fails_the_run_with_its_reason(first, cli: Cli, package: Path) -> None:
    code, states, told = run(cli, package, "--data", package.parent / "nowhere")
    assert code == 1
    assert states == {"resolve-data": "failed"}
    assert "nowhere" in told and "Traceback" not in told


def test_a_model_that_is_not_blessed_is_no_success(first, cli: Cli, package: Path) -> None:
    """As of `visionline run`; all up to the verdict is cached."""
    strict = package.with_name("strict.yaml")
    config = package.with_name("config.toml")
    asked = ["--set", "evaluate.min_accuracy=0.9999"]
    assert cli("kubeflow", "compile", config, "--output", strict, *asked).returncode == 0
    code, states, told = run(cli, strict, "--framework", "pytorch", "--epochs", "6")
    assert code == 3, told
    assert states["trainer"] == "cached" and states["pusher"] == "done"
    assert "accuracy on all images is 0." in told and "the least allowed 0.9999" in told
    assert "In the server: skipped: not tried, since the Evaluator did not bless" in told
    assert "Note: min_accuracy 0.9999 is finer than one image can tell" in told
    assert "Not blessed, so not pushed." in told and "Done." not in told
    record = lineages(strict)[-1]
    why_not = json.loads((record.parent / "pushed_model" / "push.json").read_text())["why_not"]
    assert why_not[0].startswith("accuracy on all images is 0.")
    assert '"why_not_pushed":{"string":"accuracy on all images is 0.' in record.read_text()
    log = max((package.parent / "out").rglob("pusher.log"), key=lambda path: path.stat().st_mtime)
    assert f"digits is not pushed: {why_not[0]}" in log.read_text()


@pytest.mark.slow
def test_the_other_framework(first, cli: Cli, package: Path, volume: Path) -> None:
    """As it was compiled; it is compared with what was pushed before."""
    code, states, told = run(cli, package)
    assert code == 0, told
    assert states["image-example-gen"] == states["transform"] == "cached"
    assert states["trainer"] == states["evaluator"] == "done"
    card = json.loads((volume / SERVING / "digits" / "2" / "model.json").read_text())
    assert card["framework"] == "keras"
    records = (package.parent / "out").rglob("evaluator/*/lineage")
    record = max(records, key=lambda path: path.stat().st_mtime)
    assert "baseline_version" in record.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "x"], "Invalid value"),
        (["--batch-size", "0"], "batch_size: expected"),
        (["--engine", "rkt"], "is not one of 'subprocess', 'podman', 'docker'"),
        (["--engine", "podman"], "--volume data=FOLDER"),
    ],
)
def test_what_a_run_cannot_change(cli: Cli, package: Path, arguments, message) -> None:
    code, states, told = run(cli, package, *arguments)
    assert code == 2 and message in told and not states
