"""The pipeline's image: a compiled pipeline runs in it, task by task, to a pushed model.

Building it takes too long for a test; name one that docker/build.sh has built.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Cli, Demo

IMAGE = os.environ.get("VISIONLINE_TEST_PIPELINE_IMAGE", "")
pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.timeout(3600)]
SMALL = 40
"""Images of each class."""


@pytest.mark.skipif(not IMAGE, reason="VISIONLINE_TEST_PIPELINE_IMAGE names no image")
@pytest.mark.parametrize("framework", ["keras", "pytorch"])
def test_every_task_runs_in_it(framework: str, demo: Demo, cli: Cli, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    for place in (p for p in demo.images.iterdir() if p.is_dir()):
        (claim / "images" / place.name).mkdir(parents=True)
        for image in sorted(place.iterdir())[:SMALL]:
            shutil.copy(image, claim / "images" / place.name)
    config = tmp_path / "config.toml"
    config.write_text(f"""
name = "digits"
data.path = "/mnt/claim/images"
transform.image_size = 16
evaluate.min_accuracy = 0.2
push.destination = "/mnt/claim/serving"
train = {{framework = "{framework}", model = "small_cnn", epochs = 6, learning_rate = 0.005}}
[kubeflow]
image = "{IMAGE}"
pipeline_root = "s3://bucket/root"
volumes = [{{claim = "data", mount = "/mnt/claim"}}]
""")
    package, out = tmp_path / "pipeline.yaml", tmp_path / "out"
    compiled = cli("kubeflow", "compile", config, "--output", package)
    assert compiled.returncode == 0, compiled.stderr
    engine = "podman" if shutil.which("podman") else "docker"
    done = cli(
        *("kubeflow", "run", package, "--engine", engine),
        *("--volume", f"data={claim}", "--output", out),
    )
    logs = "".join(p.read_text()[-3000:] for p in out.rglob("*.log"))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{logs}"
    card = json.loads((claim / "serving" / "digits" / "1" / "model.json").read_text())
    assert card["framework"] == framework
    (record,) = out.rglob("pusher/lineage")
    store = tmp_path / "store.sqlite"
    assert cli("lineage", "import", record, "--metadata", store).returncode == 0
    asked = cli("lineage", "model", "digits@1", "--metadata", store, "--json")
    run = json.loads(asked.stdout)["run"]
    assert run["visionline_git_commit"] and "tensorflow_cpu" in run["packages"]
