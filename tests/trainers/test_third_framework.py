"""A third framework: a package of one's own, found by its entry point, and no file edited."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Demo
from softmax_regression import bright_and_dark, write_split

from common.config.strict import parse
from common.errors import ConfigError
from components.trainer.child import run_job
from components.trainer.executor import class_names
from modelstore.artifact import GOLDEN, ModelCard
from pipeline.catalog import list_models
from pipeline.config import load_config
from pipeline.recording.code_digest import training_code
from trainers.config import TrainConfig
from trainers.frameworks import frameworks, get_framework
from trainers.job import TrainJob

FILES = {
    "numpy_backend-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: numpy-backend\n",
    "numpy_backend-1.0.dist-info/entry_points.txt": (
        "[visionline.backends]\nnumpy = numpy_backend:FRAMEWORK\n"
    ),
    "numpy_backend/__init__.py": """
from trainers.frameworks import Framework

FRAMEWORK = Framework(
    name="numpy",
    package=__name__,
    distribution="numpy-backend",
    needs=("numpy",),
    model_names=lambda: ["softmax"],
    counted={"softmax": (8, 8)},
    thread_variables=("NUMPY_BACKEND_THREADS",),
    environment={},
)
""",
    "numpy_backend/backend.py": """
import os
import numpy as np
from softmax_regression import SoftmaxRegression

def configure(*, threads, seed):
    assert os.environ["NUMPY_BACKEND_THREADS"] == str(threads)
    return "cpu"

def versions():
    return {"numpy": np.__version__}

def build(config, *, num_classes, image_size):
    return Learner(3 * image_size[0] * image_size[1], num_classes)

def count_parameters(model, *, num_classes, image_size):
    return build(None, num_classes=num_classes, image_size=image_size).parameter_count

def load(directory):
    weights_PC = np.load(directory / "weights.npy")
    learner = Learner(len(weights_PC) - 1, weights_PC.shape[1])
    learner.restore({"weights": weights_PC})
    return learner

class Learner(SoftmaxRegression):
    def prepare_export(self):
        pass

    def to_tensorflow(self):
        import tensorflow as tf

        class Scores(tf.Module):
            def __init__(self, weights_PC):
                super().__init__()
                self.weights = tf.Variable(weights_PC, dtype=tf.float32)

            def __call__(self, images_NHW3):
                count = tf.shape(images_NHW3)[0]
                flat_NP = tf.reshape(tf.cast(images_NHW3, tf.float32), [count, -1])
                return tf.nn.softmax(flat_NP / 255 @ self.weights[:-1] + self.weights[-1])

        return Scores(self.weights_PC)

    def to_onnx(self, path):
        import onnx
        import tf2onnx
        import tensorflow as tf

        scores = self.to_tensorflow()
        pixels = (scores.weights.shape[0] - 1) // 3
        side = round(pixels ** 0.5)
        signature = [tf.TensorSpec((None, side, side, 3), tf.uint8, name="images")]
        function = tf.function(lambda images: {"scores": scores(images)}, autograph=False)
        model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
        onnx.save(model, str(path))
""",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    frameworks.cache_clear()
    yield tmp_path
    frameworks.cache_clear()
    sys.modules.pop("numpy_backend", None)


def test_it_is_listed_counted_and_can_be_configured(installed: Path) -> None:
    assert [*frameworks()] == ["keras", "pytorch", "numpy"]
    models = list_models("", "numpy")
    assert models == [{"framework": "numpy", "model": "softmax", "parameters": 193 * 10}]
    given = {"data.path": "x", "train.framework": "numpy", "evaluate.min_accuracy": 0.5}
    assert frameworks()["numpy"].is_installed()
    assert not replace(frameworks()["numpy"], needs=("numpy", "nowhere")).is_installed()
    config = load_config(None, {**given, "train.model": "softmax"})
    assert config.train.framework == "numpy"
    with pytest.raises(ConfigError, match="numpy has no model 'resnet18'"):
        load_config(None, {**given, "train.model": "resnet18"})
    with pytest.raises(ConfigError, match=r"train\.ema_decay: expected it left out"):
        load_config(None, {**given, "train.model": "softmax", "train.ema_decay": 0.9})


@pytest.mark.parametrize(
    "setting", [{"loss": "focal"}, {"distillation": {"model": "serving/photos/1"}}]
)
def test_what_it_does_not_implement_is_refused(installed: Path, setting: dict[str, object]) -> None:
    given = {"framework": "numpy", "model": "softmax"}
    (key,) = setting
    message = rf"train\.{key}: expected it left out, since the framework numpy does not have it"
    with pytest.raises(ConfigError, match=message):
        parse(TrainConfig, given | setting, "train.")
    assert parse(TrainConfig, given | setting | {"framework": "keras"}).framework == "keras"


def test_its_code_is_in_the_cache_key(installed: Path) -> None:
    config = TrainConfig(framework="numpy", model="softmax")
    before = training_code(config)
    with open(installed / "numpy_backend/backend.py", "a") as file:
        file.write("\nx = 1\n")
    assert training_code(config) != before


def test_it_trains_and_exports_through_the_contract(installed: Path, demo: Demo) -> None:
    graphs = demo.workspace / "artifacts/Transform/transform_graph"
    graph = min(graphs.iterdir(), key=lambda folder: int(folder.name))
    for split in ("train", "val"):
        write_split(installed / split, bright_and_dark(48, size=16))
    job = TrainJob(
        config=TrainConfig(
            framework="numpy", model="softmax", batch_size=8, learning_rate=0.3, threads=1
        ),
        train_split=str(installed / "train"),
        val_split=str(installed / "val"),
        class_names=class_names(graph),
        transform_graph=str(graph),
        model_dir=str(installed / "model"),
        run_dir=str(installed),
        dataset_digest="",
        transform_digest="",
    )
    result = run_job(job, installed)
    card = ModelCard.read(installed / "model")
    assert (card.framework, card.architecture, card.versions) == (
        *("numpy", "softmax"),
        {"numpy": np.__version__},
    )
    assert card.metrics["val_accuracy"] == 1
    assert set(card.parity) == {"savedmodel", "savedmodel_bytes", "onnx"}
    assert max(card.parity.values()) < 1e-5
    assert json.loads(json.dumps(result["card"]))["framework"] == "numpy"
    assert (installed / "model" / GOLDEN).is_file()


def test_a_package_that_is_broken_is_named(installed: Path) -> None:
    (installed / "numpy_backend/__init__.py").write_text("import nowhere\n")
    with pytest.raises(ConfigError, match=r"'numpy' of numpy_backend:FRAMEWORK cannot be used"):
        get_framework("numpy")
    assert get_framework("keras").name == "keras"
