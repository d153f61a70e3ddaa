"""Which changes of visionline's own code make a training, or a trial of the server, new."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import PACKAGES, ROOT

from pipeline.recording import code_digest
from pipeline.recording.code_digest import (
    arrays_code,
    serving_code,
    training_code,
    transform_code,
)
from trainers.config import TrainConfig

KERAS = TrainConfig(framework="keras", model="small_cnn")
TORCH = TrainConfig(framework="pytorch", model="small_cnn")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("visionline")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, root / package, ignore=ignore)
    return root


@pytest.fixture
def change(copied: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces some text of a file in a copy of visionline, for the time of a test."""
    monkeypatch.setattr(code_digest, "_ROOT", copied)
    originals: dict[Path, str] = {}

    def replace(name: str, old: str, new: str) -> None:
        path = copied / name
        text = originals.setdefault(path, path.read_text("utf-8"))
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    yield replace
    for path, text in originals.items():
        path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("trainers/loop.py", "Expected a finite number", "A finite number was expected"),
        ("trainers/loop.py", '"""The training loop:', '"""The loop:'),
        ("trainers/loop.py", "import math", "import math  # for ceil"),
        ("trainers/data.py", "the split has no image.", "there is no image in the split."),
        ("common/errors.py", "Did you mean", "Do you mean"),
        ("trainers/torch_backend/models.py", "PyTorch has no model", "PyTorch lacks the model"),
        ("trainers/keras_backend/tasks.py", "tf.equal(", "tf.not_equal("),
        ("pipeline/cli/main.py", "import", "import os\nimport"),
        ("components/pusher.py", "import", "import os\nimport"),
    ],
)
def test_what_makes_no_other_model_keeps_the_training(change, path, old, new):
    before = training_code(TORCH)
    change(path, old, new)
    assert training_code(TORCH) == before


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("trainers/loop.py", "(e.val_metric, -e.val_loss)", "e.val_metric"),
        ("trainers/schedules.py", "0.5 *", "0.6 *"),
        ("trainers/torch_backend/scorer.py", "255 * torch", "256 * torch"),
        ("modelstore/tasks/classification.py", "ANSWERS = 5", "ANSWERS = 6"),
        ("components/transform/vocabulary.py", "label_vocabulary", "classes"),
        ("common/process/cpus.py", "import os", "import os, sys"),
    ],
)
def test_what_makes_another_model_makes_the_training_new(change, path, old, new):
    before = training_code(TORCH)
    change(path, old, new)
    assert training_code(TORCH) != before


def test_a_frameworks_training_is_new_when_its_backend_changes(change):
    before = training_code(KERAS)
    change("trainers/keras_backend/tasks.py", "tf.equal(", "tf.not_equal(")
    assert training_code(KERAS) != before


@pytest.mark.parametrize(
    ("code", "path", "old", "new"),
    [
        (transform_code, "components/transform/graph.py", "tf.round(image)", "image"),
        (transform_code, "components/transform/vocabulary.py", "sorted(classes)", "classes"),
        (arrays_code, "components/array_gen/arrays.py", "_BATCH = 32", "_BATCH = 31"),
        (arrays_code, "trainers/decoder.py", "tf.uint8", "tf.int8"),
        (arrays_code, "trainers/arrays.py", '"|u1"', '"|i1"'),
    ],
)
def test_images_are_prepared_anew_when_the_code_of_it_changes_and_no_other(
    change, code, path, old, new
):
    before = code()
    change("trainers/loop.py", "import math", "import math, os")
    change("components/example_gen/report.py", "import re", "import os, re")
    assert code() == before
    change(path, old, new)
    assert code() != before


def test_a_training_is_new_when_its_own_input_changes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_data.py").write_text("def read(split): ...\n")
    config = replace(TORCH, input="own_data:read")
    before = training_code(config)
    assert before != training_code(TORCH)
    (tmp_path / "own_data.py").write_text("def read(split): return split\n")
    assert training_code(config) != before


def test_what_a_loss_is_told_is_no_text_of_an_error(change):
    change("trainers/loop.py", "import math", "import math\nf = MeanSquaredError('sum')")
    before = training_code(TORCH)
    change("trainers/loop.py", "import math", "import math\nf = MeanSquaredError('mean')")
    assert training_code(TORCH) != before


def test_the_server_is_another_when_its_code_changes_and_not_its_words(change):
    before = serving_code()
    change("serving/service.py", '"""', '"""In other words: ')
    change("modelstore/artifact.py", "is not readable", "cannot be read")
    change("trainers/loop.py", "import math", "import math, os")
    assert serving_code() == before
    change("modelstore/versions.py", "import", "import sys\nimport")
    assert serving_code() != before
