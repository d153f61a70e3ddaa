"""A teacher: which model is meant, and what it answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from colour_model import write_onnx
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from served_versions import serve

from common.errors import ConfigError
from modelstore.artifact import MODEL_ONNX
from pipeline.recording.code_digest import training_code
from trainers.config import DistillationConfig, TrainConfig
from trainers.contract import Batch
from trainers.data import Split, batches
from trainers.distillation import answers, softened
from trainers.teacher import find_teacher, pinned

CLASSES = ("red", "green", "blue")
"""In the teacher's order."""


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Two versions of a model whose logits are 8 times an image's mean colours."""
    (tmp_path / "source").mkdir()
    write_onnx(tmp_path / "source" / MODEL_ONNX, 8 / 255)
    for _ in range(2):
        serve(tmp_path, CLASSES, "colours")
    return tmp_path / "serving"


def config_of(model: object, **values: object) -> TrainConfig:
    distillation = DistillationConfig(model=str(model), **values)
    return TrainConfig(framework="keras", model="small_cnn", distillation=distillation)


def test_a_version_is_meant_by_its_folder_its_number_or_as_the_newest(serving: Path) -> None:
    folder = serving / "colours"
    for named, version in (("@1", 1), ("/1", 1), ("@2", 2), ("", 2), ("/", 2)):
        teacher = find_teacher(DistillationConfig(model=f"{folder}{named}"))
        assert teacher.name == f"colours@{version}"
        assert teacher.folder == folder / str(version)
    assert find_teacher(DistillationConfig()) is None


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("colours@3", r"found nothing at '.*colours/3'\. Versions: 1, 2\."),
        ("colour", r"expected the folder of a pushed model, .*found nothing at '.*colour'\."),
        (".", r"expected a pushed model\. Expected model\.json in"),
        ("colours/2", r"has no model\.onnx, by which a teacher answers"),
    ],
)
def test_what_is_no_teacher_is_refused(serving: Path, named: str, message: str) -> None:
    (serving / "colours" / "2" / MODEL_ONNX).unlink()
    with pytest.raises(ConfigError, match=rf"train\.distillation\.model: .*{message}"):
        find_teacher(DistillationConfig(model=f"{serving}/{named}"))


def test_the_newest_version_is_pinned_and_is_part_of_the_key(serving: Path) -> None:
    newest = config_of(serving / "colours")
    assert pinned(newest).distillation.model == str(serving / "colours" / "2")
    keys = [training_code(newest), training_code(config_of(serving / "colours@2"))]
    assert keys[0] == keys[1] != training_code(config_of(serving / "colours@1"))
    none = replace(newest, distillation=DistillationConfig())
    assert pinned(none) is none and training_code(none) not in keys
    # What holds the same is the same teacher, whatever it is called.
    copied = serve(serving.parent, CLASSES, "others")
    assert training_code(config_of(copied)) == training_code(config_of(serving / "colours@1"))


def test_answers_are_in_the_order_of_the_student_s_classes(serving: Path) -> None:
    images = np.zeros((300, 8, 8, 3), np.uint8)
    images[np.arange(300), :, :, np.arange(300) % 3] = 200
    config = config_of(serving / "colours", temperature=1.0).distillation
    found = answers(config, images, ["blue", "green", "red"])
    assert found is not None and found.dtype == np.float16
    logit = 8 * 200 / 255
    sure, unsure = np.exp([logit, 0]) / (np.exp(logit) + 2)
    expected = np.where(np.eye(3)[[2, 1, 0]][np.arange(300) % 3], sure, unsure)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert answers(DistillationConfig(), images, CLASSES) is None


def test_images_of_another_size_are_resized_and_of_another_shape_refused(serving: Path) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    config = config_of(serving / "colours").distillation
    same, resized = answers(config, small, CLASSES), answers(config, large, CLASSES)
    np.testing.assert_allclose(same, resized, atol=0.01)
    with pytest.raises(ConfigError, match=r"as wide for their height .* 8×16, got one of 8×8"):
        answers(config, np.zeros((1, 8, 16, 3), np.uint8), CLASSES)


def test_each_batch_has_the_answers_to_its_images(serving: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    config = replace(config_of(serving / "colours"), batch_size=8)
    teacher_NC = answers(config.distillation, images, CLASSES)
    split = Split(images, np.arange(50) % 3, teacher_NC)
    made: list[Batch] = [*batches(split, config, np.ones(3, np.float32), epoch=1)]
    for batch in made:
        assert batch.teacher_NC is not None and batch.teacher_NC.dtype == np.float32
        again = answers(config.distillation, batch.images_NHW3, CLASSES)
        np.testing.assert_allclose(batch.teacher_NC, again, rtol=2e-3)
        np.testing.assert_allclose(batch.teacher_NC.sum(axis=1), 1, rtol=1e-6)


@EXAMPLES
@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(0.3, 20))
def test_softened_answers_keep_their_order_and_come_closer(values: list[float], t: float) -> None:
    scores_NC = np.array([values], np.float32) + np.float32(1e-3)
    scores_NC /= scores_NC.sum()
    (soft_C,) = softened(scores_NC, t)
    assert soft_C.sum() == pytest.approx(1, rel=1e-5)
    assert (np.argsort(soft_C, kind="stable") == np.argsort(scores_NC[0], kind="stable")).all()
    logits_C = np.log(scores_NC[0].astype(np.float64))
    expected_C = (logits_C - logits_C[0]) / t
    np.testing.assert_allclose(np.log(soft_C / soft_C[0]), expected_C, atol=1e-3)


def test_an_answer_of_nothing_but_one_class_stays_finite() -> None:
    soft_NC = softened(np.array([[1, 0, 0]], np.float32), 5.0)
    assert np.isfinite(soft_NC).all() and soft_NC.argmax() == 0
