"""What a training's config says of classes, held against the data's."""

from __future__ import annotations

import pytest
from PIL import Image
from rich.console import Console
from served_versions import serve

from common.errors import ConfigError
from pipeline.config import load_config
from trainers.classes import NeededClasses
from trainers.config import DistillationConfig, TrainConfig

pytestmark = pytest.mark.quick

DATA = ("cat", "dog", "żaba")


def needed(tmp_path, weights="none", teacher=None) -> NeededClasses:
    distillation = DistillationConfig()
    if teacher:
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "model.onnx").touch()
        distillation = DistillationConfig(model=str(serve(tmp_path, classes=teacher)))
    return NeededClasses.of(
        TrainConfig(framework="keras", model="m", class_weights=weights, distillation=distillation)
    )


@pytest.mark.parametrize("weights", ["none", "balanced", {}, {"cat": 2.0}, {"cat": 0.0, "dog": 0}])
def test_what_fits_is_taken(tmp_path, weights):
    needed(tmp_path, weights).check(DATA)
    needed(tmp_path, weights, teacher=("żaba", "cat", "dog")).check(DATA)


@pytest.mark.parametrize(
    ("weights", "teacher", "message"),
    [
        ({"dgo": 1.0}, None, r"class_weights: no class 'dgo' in the data\. Did you mean 'dog'\?"),
        (dict.fromkeys(DATA, 0.0), None, "class_weights: expected a weight above 0 for some class"),
        ("none", ("cat", "dog"), r"train\.distillation\.model: .* differs in 'żaba'\. Take"),
        ("none", (*DATA, "a", "b"), r"differs in 'a', 'b'\. Take another teacher"),
        ("none", (*DATA, *"abcdef"), r"differs in 'a', 'b', 'c', 'd', 'e' …\. Take"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, weights, teacher, message):
    with pytest.raises(ConfigError, match=message):
        needed(tmp_path, weights, teacher).check(DATA)


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize("key", ["train.class_weights", "train.distillation.model"])
def test_a_run_is_refused_before_it_begins(tmp_path, key):
    from pipeline.run.display import PlainDisplay
    from pipeline.run.session import run_pipelines

    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(6):
            Image.new("RGB", (4, 4), (n, len(label), 0)).save(
                tmp_path / "data" / label / f"{n}.png"
            )
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.onnx").touch()
    teacher = str(serve(tmp_path, classes=("cat", "dgo")).parent)
    values = {"train.class_weights": {"dgo": 2.0}, "train.distillation.model": teacher}
    flags = {"data.path": str(tmp_path / "data"), "run.output": str(tmp_path / "out")}
    flags |= {"train.framework": "keras", "train.model": "small_cnn", key: values[key]}
    config = load_config(None, {**flags, "evaluate.min_accuracy": 0.5})
    with pytest.raises(ConfigError, match=f"{key}: .*'dgo'"):
        run_pipelines([config], PlainDisplay(Console()))
    assert not (tmp_path / "out").exists()
