"""`python -m trainers`, each framework where only it is installed; and interrupted."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import typer
from helpers import wait_until
from odd_images import encode
from softmax_regression import bright_and_dark, write_split
from typer.testing import CliRunner
from without import run_without

from common.files import read_json
from trainers.__main__ import train
from trainers.contract import load_backend
from trainers.frameworks import frameworks, get_framework
from trainers.history import CURVES, HISTORY

pytestmark = pytest.mark.pipelines

PIPELINE = {"tfx", "apache_beam", "ml_metadata", "tensorflow_transform", "tfx_bsl"}
TORCH = {"torch", "torchvision", "timm", "safetensors", "onnxscript", "torchax", "jax", "jaxlib"}
TENSORFLOW = {"tensorflow", "keras", "tf_keras", "tf2onnx", "torchax", "jax", "jaxlib"}
ABSENT = {name: TORCH if name == "keras" else TENSORFLOW for name in frameworks()}
RUN = "sys.argv[0] = 'trainers'\nfrom trainers.__main__ import main\nmain()\n"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    split = bright_and_dark(20, size=12)
    for number, (image, label) in enumerate(zip(split.images_NHW3, split.labels_N, strict=True)):
        path = folder / ("dark", "bright")[label] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode("PNG", image))
    return folder


@pytest.mark.parametrize("framework", frameworks())
def test_it_trains_and_exports_with_one_framework_alone(framework, images, tmp_path, capfd):
    arguments = ("--framework", framework, "--model", "small_cnn", "--image-size", "8")
    out = tmp_path / "out"
    run_without(
        PIPELINE | ABSENT[framework],
        RUN,
        *(images, *arguments, "--epochs", 2, "--set", "batch_size=8", "--export", "--out", out),
    )
    said = capfd.readouterr().out
    assert "epoch 2/2: loss " in said and "val accuracy " in said
    assert "model.onnx differs by at most" in said
    assert f"its model is in {out / 'native'}." in said
    assert [epoch["epoch"] for epoch in read_json(out / HISTORY)] == [1, 2]
    assert (out / CURVES).is_file()
    summary = read_json(out / "training.json")
    assert (summary["class_names"], summary["image_size"]) == (["bright", "dark"], [8, 8])
    assert summary["config"]["framework"] == framework
    pixels = np.load(out / "arrays" / "val" / "images_NHW3.npy")
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    (scores,) = session.run(None, {"images": pixels})
    native = load_backend(framework).load(out / "native").predict(pixels)
    np.testing.assert_allclose(scores, native, atol=1e-5)


def command(*arguments: object):
    app = typer.Typer()
    app.command()(train)
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in get_framework("pytorch").variables(1):
        monkeypatch.setenv(name, "1")  # so that what is set is undone
    for name in ("train", "val"):
        write_split(tmp_path / "in" / name, bright_and_dark(8, size=8))
    return tmp_path / "in"


TORCH_MODEL = ("--framework", "pytorch", "--model", "small_cnn", "--threads", 1)


def test_an_interrupted_training_says_what_is_left(arrays, tmp_path):
    out = tmp_path / "out"

    def interrupt() -> None:
        history = out / HISTORY
        wait_until(lambda: history.is_file() and len(json.loads(history.read_text())) > 1)
        os.kill(os.getpid(), signal.SIGINT)

    (thread := threading.Thread(target=interrupt)).start()
    done = command(arrays, *TORCH_MODEL, "--epochs", 1_000_000, "--out", out)
    thread.join()
    assert done.exit_code == 130
    assert "Interrupted. The figures of" in done.output and f"are kept in {out}" in done.output
    assert "epoch 1/1000000: loss " in done.output and "Traceback" not in done.output


def test_what_nobody_foresaw_is_told_without_a_traceback(arrays, tmp_path, monkeypatch):
    (tmp_path / "raising_model.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            raise ValueError('no such layer')\n"
        "        return super().forward(x.mean((2, 3)))\n"
        "def net(num_classes, image_size):\n"
        "    return Net(3, num_classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = [*TORCH_MODEL[:2], "--model", "raising_model:net"]
    done = command(arrays, *model, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "Error: Training failed: ValueError: no such layer" in done.output
