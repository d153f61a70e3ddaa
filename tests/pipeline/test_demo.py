"""The demo: what a newcomer runs first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, Demo, Store
from PIL import Image

pytestmark = pytest.mark.pipelines

COMPONENTS = {
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
    "Trainer",
    "BulkInferrer",
    "BaselineInferrer",
    "Evaluator",
    "InfraValidator",
    "Pusher",
}


def test_both_frameworks_reach_the_bar_and_are_pushed(demo: Demo) -> None:
    assert [r["framework"] for r in demo.summary["runs"]] == ["keras", "pytorch"]
    for run in demo.summary["runs"]:
        assert run["accuracy"] >= 0.95
        assert run["blessed"] is True
        assert run["version"] == 1
        assert Path(run["where"]) == demo.serving / run["name"] / "1"
        assert (Path(run["where"]) / "saved_model.pb").exists()
    keras, pytorch = demo.summary["runs"]
    assert keras["parameter_count"] == pytorch["parameter_count"]


def test_kept_aside_images_are_classified(demo: Demo) -> None:
    used = {p.name for p in demo.images.rglob("*.png")}
    for run in demo.summary["runs"]:
        assert len(run["predictions"]) == 5
        for prediction in run["predictions"]:
            image = Path(prediction["image"])
            assert image.name.split("-")[1] not in used
            assert prediction["labels"][0] in set("0123456789")
        right = [p["labels"][0] == Path(p["image"]).name[0] for p in run["predictions"]]
        assert sum(right) >= 4


def test_closing_words(demo: Demo) -> None:
    for heading in ("framework", "model", "accuracy", "blessed", "version", "where", "time"):
        assert heading in demo.output
    assert "visionline predict" in demo.output
    assert "Traceback" not in demo.output and "WARNING" not in demo.output


def test_second_run_reuses_the_data_steps(demo: Demo) -> None:
    store = Store(demo.workspace)
    first, second = (store.states(r["run_id"]) for r in demo.summary["runs"])
    assert set(first) == COMPONENTS
    assert set(first.values()) == {"COMPLETE"}
    trained = {"Trainer", "BulkInferrer"}  # neither has a baseline
    trained |= {"Evaluator", "InfraValidator", "Pusher"}
    assert {k: second[k] for k in trained} == dict.fromkeys(trained, "COMPLETE")
    assert {second[k] for k in COMPONENTS - trained} == {"CACHED"}


def test_provenance_is_recorded(demo: Demo) -> None:
    store = Store(demo.workspace)
    for summary in demo.summary["runs"]:
        run = store.run(summary["run_id"])
        assert json.loads(run["config"])["train"]["framework"] == summary["framework"]
        assert json.loads(run["packages"])["tfx"] == "1.21.0"
        for key in ("config_digest", "lock_digest", "user", "host", "visionline_git_commit"):
            assert run[key]
        assert run["visionline_git_dirty"] in (0, 1)
        assert run["state"] == "complete" and run["accelerator"] == "cpu"
        assert run["duration_seconds"] > 0 and len(run["dataset_digest"]) == 64
        executions = store.executions(summary["run_id"])
        trainer = executions["Trainer"]
        assert trainer["dataset_digest"] == run["dataset_digest"]
        assert trainer["seed"] == 0 and trainer["duration_seconds"] > 0
        # Defaults are recorded too, resolved.
        assert json.loads(trainer["hyper_parameters"])["momentum"] == 0.9
        assert trainer["val_accuracy"] > 0.9
        assert executions["Evaluator"]["accuracy"] == pytest.approx(summary["accuracy"])
        assert executions["Pusher"]["pushed_version"] == 1
        tried, said = executions["InfraValidator"], summary["infra_validation"]
        assert tried["blessed"] == 1 and said["blessed"] and tried["examples"] == 16
        assert tried["engine"] == said["engine"] and tried["loading_seconds"] > 0
        for key in ("rest_p50_ms", "rest_p99_ms", "grpc_p50_ms", "grpc_p99_ms"):
            assert tried[key] > 0


def test_manifest_traces_to_the_store(demo: Demo) -> None:
    store = Store(demo.workspace).store
    for summary in demo.summary["runs"]:
        manifest = json.loads((Path(summary["where"]) / "manifest.json").read_text())
        assert manifest["run_id"] == summary["run_id"]
        ids = manifest["mlmd"]
        (model,) = store.get_artifacts_by_id([ids["model"]])
        assert model.uri == manifest["model_uri"]
        (evaluation,) = store.get_artifacts_by_id([ids["evaluation"]])
        assert Path(evaluation.uri).is_dir()
        (execution,) = store.get_executions_by_id([ids["pusher_execution"]])
        assert execution.custom_properties["pushed_version"].int_value == 1


def test_model_artifact_is_complete(demo: Demo) -> None:
    for summary in demo.summary["runs"]:
        where = Path(summary["where"])
        card = json.loads((where / "model.json").read_text())
        assert card["class_names"] and set(card["class_names"]) == set("0123456789")
        assert set(card["parity"]) == {"savedmodel", "savedmodel_bytes", "onnx"}
        assert max(card["parity"].values()) <= card["parity_tolerance"]
        golden = np.load(where / "golden.npz")
        assert golden["images_NHW3"].dtype == np.uint8
        assert golden["scores_NC"].shape == (len(golden["images_NHW3"]), 10)
        assert card["golden"] == "drawn"
        # They exercise the model: no two are scored alike, nor all given to one class.
        assert len(np.unique(golden["scores_NC"].round(6), axis=0)) == 16
        assert len(set(golden["scores_NC"].argmax(axis=1))) > 1


def test_no_pixels_of_an_image_are_pushed(demo: Demo) -> None:
    shards = [
        np.load(p) for p in demo.workspace.glob("artifacts/ArrayGen/arrays/*/*/images_NHW3.npy")
    ]
    known = {image.tobytes() for shard in shards for image in shard}
    assert len(known) > 1000
    for file in [*demo.serving.rglob("*"), *demo.workspace.glob("artifacts/Trainer/**/*")]:
        content = file.read_bytes() if file.is_file() else b""
        assert not any(image in content for image in [*known][:50])
        if file.name == "golden.npz":
            assert not known & {image.tobytes() for image in np.load(file)["images_NHW3"]}
    assert (demo.serving / "digits-keras/1/native/model.keras").exists()
    assert (demo.serving / "digits-pytorch/1/native/model.pt2").exists()


def test_run_leaves_logs_figures_and_pictures(demo: Demo) -> None:
    for summary in demo.summary["runs"]:
        run_dir = demo.workspace / "runs" / summary["run_id"]
        evaluation = json.loads((run_dir / "evaluation.json").read_text())
        assert sum(map(sum, evaluation["confusion"])) == evaluation["examples"]
        low, high = evaluation["interval"]
        assert evaluation["headline"] == "accuracy"
        assert low <= evaluation["metrics"]["accuracy"] == summary["accuracy"] <= high
        assert {c["name"] for c in evaluation["classes"]} == set("0123456789")
        assert {s["feature"] for s in evaluation["slices"]} == {"label"}
        assert 0 <= evaluation["expected_calibration_error"] <= 1
        for picture in (run_dir / "evaluation.png", Path(summary["curves"])):
            with Image.open(picture) as image:
                assert image.width > 500
        model_run = Path(summary["curves"]).parent
        history = json.loads((model_run / "history.json").read_text())
        assert [e["epoch"] for e in history] == list(range(1, len(history) + 1))
        assert list((model_run / "tensorboard").glob("events.out.tfevents.*"))
        assert (run_dir / "config.json").exists()
        # What TFX, Beam and TensorFlow print is in the log, and nowhere else.
        assert "absl" in (run_dir / "log.txt").read_text()


def test_versions_and_predict(demo: Demo, cli: Cli) -> None:
    listed = cli("versions", "--serving", demo.serving, "--json")
    assert [(v["name"], v["version"], v["damage"]) for v in json.loads(listed.stdout)] == [
        ("digits-keras", 1, []),
        ("digits-pytorch", 1, []),
    ]
    image = demo.kept[-1]
    done = cli("predict", image, demo.root / "summary.json", "--serving", demo.serving,
               "--name", "digits-pytorch", "--json")  # fmt: skip
    assert done.returncode == 1  # one of the two is no image
    (prediction,) = json.loads(done.stdout)
    assert prediction["image"] == str(image) and prediction["version"] == 1
    assert "summary.json: is not an image" in done.stderr and "Traceback" not in done.stderr
    unclear = cli("predict", image, "--serving", demo.serving)
    assert unclear.returncode == 1 and "--name" in unclear.stderr


def test_schema_is_shown_and_frozen(demo: Demo, cli: Cli, tmp_path: Path) -> None:
    shown = cli("schema", "--output", demo.workspace)
    assert shown.returncode == 0 and "share" in shown.stdout
    frozen = tmp_path / "schema.pbtxt"
    done = cli("schema", "--output", demo.workspace, "--freeze", frozen)
    assert done.returncode == 0 and str(frozen) in done.stdout
    assert "image/encoded" in frozen.read_text()
