"""Saved, read back, as TensorFlow and as ONNX: always the same answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from trainers.config import TrainConfig
from trainers.contract import Batch, Floats, Images
from trainers.torch_backend import backend, lowering

SIZE = 32
WITHOUT = """
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {names}
        return None if absent else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder()
"""


def run_without(names: set[str], code: str, *arguments: object) -> None:
    """Runs code in a process where `names` might as well not be installed."""
    subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=names) + code, *map(str, arguments)],
        check=True,
        timeout=300,
    )


def images_of(count: int) -> Images:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module", params=["test_efficientnet", "test_vit"])
def saved(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Floats]:
    """A model after two steps of training, and its answers to `images_of(9)`."""
    backend.configure(threads=1, seed=0)
    config = TrainConfig(framework="pytorch", model=request.param)
    learner = backend.build(config, num_classes=4, image_size=(SIZE, SIZE))
    batch = Batch(images_of(8), np.arange(8) % 4, np.ones(8, np.float32), None)
    for _ in range(2):
        learner.train_step(batch, 1e-2)
    directory = tmp_path_factory.mktemp(request.param)
    learner.save(directory)
    return directory, learner.predict(images_of(9))


def test_native(saved: tuple[Path, Floats]) -> None:
    directory, expected_NC = saved
    assert sorted(p.name for p in directory.iterdir()) == [
        "model.pt2",
        "spec.json",
        "state_dict.pt",
    ]
    spec = json.loads((directory / "spec.json").read_text())
    assert (spec["num_classes"], spec["image_size"]) == (4, [SIZE, SIZE])
    assert np.ptp(expected_NC, axis=0).max() > 1e-3  # It answers, not a constant.
    predictor = backend.load(directory)
    for count in (9, 1, 0):
        scores_NC = predictor.predict(images_of(9)[:count])
        np.testing.assert_allclose(scores_NC, expected_NC[:count], atol=1e-5)


def test_a_native_model_trains_on(saved: tuple[Path, Floats]) -> None:
    directory, expected_NC = saved
    model = json.loads((directory / "spec.json").read_text())["model"]
    config = TrainConfig(framework="pytorch", model=model, pretrained=str(directory))
    again = backend.build(config, num_classes=4, image_size=(SIZE, SIZE))
    np.testing.assert_allclose(again.predict(images_of(9)), expected_NC, atol=1e-6)


def test_onnx(saved: tuple[Path, Floats], tmp_path: Path) -> None:
    directory, expected_NC = saved
    backend.to_onnx(directory, tmp_path / "model.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (image,), (score,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("images", "tensor(uint8)", [SIZE, SIZE, 3])
    assert (score.name, score.shape[1:]) == ("scores", [4])
    for count in (9, 1):
        (scores_NC,) = session.run(None, {"images": images_of(9)[:count]})
        np.testing.assert_allclose(scores_NC, expected_NC[:count], atol=1e-5)


def test_tensorflow_alone(saved: tuple[Path, Floats], tmp_path: Path) -> None:
    directory, expected_NC = saved
    import tensorflow as tf

    module = backend.to_tensorflow(directory)
    assert sum(v.shape.num_elements() for v in module.variables) > 1000
    tf.saved_model.save(module, str(tmp_path / "saved"))
    # The weights are variables, in their own file, not constants of the graph.
    assert (tmp_path / "saved" / "saved_model.pb").stat().st_size < 500_000
    np.savez(tmp_path / "golden.npz", images=images_of(9), scores=expected_NC)
    run_without(
        {"torch", "jax", "jaxlib", "torchax", "timm"},
        "import numpy as np, tensorflow as tf\n"
        "folder = sys.argv[1]\n"
        "golden = np.load(folder + '/golden.npz')\n"
        "model = tf.saved_model.load(folder + '/saved')\n"
        "for count in (9, 3, 1, 0):\n"
        "    scores = model(tf.constant(golden['images'][:count])).numpy()\n"
        "    np.testing.assert_allclose(scores, golden['scores'][:count], atol=1e-5)\n",
        tmp_path,
    )


def test_training_needs_neither_tensorflow_nor_jax(tmp_path: Path) -> None:
    run_without(
        {"tensorflow", "jax", "jaxlib", "torchax", "keras", "tfx", "apache_beam"},
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from trainers.contract import load_backend\n"
        "from trainers.config import TrainConfig\n"
        "from trainers.contract import Batch\n"
        "backend = load_backend('pytorch')\n"
        "backend.configure(threads=1, seed=0)\n"
        "images = np.zeros((2, 32, 32, 3), np.uint8)\n"
        "batch = Batch(images, np.array([0, 1]), np.ones(2, np.float32), None)\n"
        "config = TrainConfig(framework='pytorch', model='test_resnet')\n"
        "learner = backend.build(config, num_classes=2, image_size=(32, 32))\n"
        "learner.train_step(batch, 1e-3)\n"
        "learner.save(Path(sys.argv[1]))\n"
        "backend.load(Path(sys.argv[1])).predict(images)\n",
        tmp_path,
    )


@pytest.mark.parametrize(
    "case",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "bias": False},
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)},
        {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 8},
        {"kernel_size": (5, 3), "padding": (2, 1), "dilation": 2, "groups": 8},
        {"kernel_size": 3, "padding": 1, "groups": 4},
        {"kernel_size": 1, "padding": 1},
    ],
    ids=str,
)
def test_lowered_convolutions_are_torchs(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(8, 8, **case)
    images = torch.randn(2, 8, 11, 13)
    expected = layer(images).detach().numpy()
    weights = [p.detach().numpy() for p in (layer.weight, layer.bias) if p is not None]
    result = lowering.convolution(
        images.numpy(),
        weights[0],
        weights[1] if len(weights) > 1 else None,
        layer.stride,
        layer.padding,
        layer.dilation,
        False,
        (0, 0),
        layer.groups,
    )
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_transposed_convolutions_are_left_to_xla() -> None:
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(8, 4, 3, stride=2)
    images = torch.randn(2, 8, 5, 5)
    weight, bias = (p.detach().numpy() for p in layer.parameters())
    result = lowering.convolution(
        images.numpy(), weight, bias, [2, 2], [0, 0], [1, 1], True, [0, 0], 1
    )
    np.testing.assert_allclose(result, layer(images).detach().numpy(), atol=1e-5)
