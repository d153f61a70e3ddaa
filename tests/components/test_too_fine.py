"""Thresholds that a single held-out image decides about are told."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from common.errors import RunError
from components.evaluator.verdict import EvaluateConfig, too_fine
from pipeline.config import load_config
from pipeline.run.display import LiveDisplay, PlainDisplay
from pipeline.run.session import run_pipelines

pytestmark = pytest.mark.quick

THIRTY = {"cat": 20, "dog": 10}


def notes(by_class: dict[str, int], compared: bool = True, **asked: Any) -> list[str]:
    config = EvaluateConfig(**{"min_accuracy": 0.5, **asked})
    return too_fine(config, by_class, compared=compared)


def test_a_loss_smaller_than_one_image() -> None:
    (note,) = notes(THIRTY, max_regression=0.001)
    assert note.startswith("max_regression 0.001 is finer than one image can tell: one of the 30")
    assert "is 0.0333 of the accuracy" in note
    assert notes(THIRTY, max_regression=0.034) == []
    assert notes(THIRTY, max_regression=0.0) == [], "exactly what was asked for"
    assert notes(THIRTY, max_regression=0.001, compared=False) == []


def test_a_least_accuracy_that_forbids_any_error() -> None:
    (note,) = notes(THIRTY, max_regression=0.5, min_accuracy=0.99)
    assert note.startswith("min_accuracy 0.99 is finer") and "not a single one" in note
    assert notes(THIRTY, max_regression=0.5, min_accuracy=29 / 30) == []
    assert notes(THIRTY, max_regression=0.5, min_accuracy=1.0) == []
    assert notes({"a": 10}, max_regression=0.5, min_accuracy=0.9) == [], "9 of 10 pass"


def test_classes_of_few_images() -> None:
    few = {"a": 1, "b": 2, "c": 3, "none": 0}
    (note,) = notes(few, max_regression=0.5, min_class_accuracy=0.6)
    assert note.endswith("not a single one may be wrong of: 'a' (1), 'b' (2).")
    many = dict.fromkeys("abcdefgh", 1)
    (note,) = notes(many, max_regression=0.5, min_class_accuracy=0.6)
    assert note.endswith("'e' (1) and 3 more.")


def test_nothing_is_known_of_no_images() -> None:
    assert notes({}, max_regression=0.001, min_accuracy=0.99) == []


@EXAMPLES
@given(images=st.integers(1, 500), least=st.floats(0.01, 1))
def test_what_is_told_of_a_least_accuracy_is_so(images: int, least: float) -> None:
    told = bool(notes({"a": images}, max_regression=0.999, min_accuracy=least))
    best_with_an_error = (images - 1) / images
    assert told == (best_with_an_error < least < 1)


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize("terminal", [False, True])
def test_it_is_told_before_the_run_where_the_folder_says_the_splits(tmp_path, terminal) -> None:
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for label in ("cat", "dog"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for n in range(count):
                Image.new("RGB", (4, 4), (n, len(label), len(split))).save(folder / f"{n}.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stranger").touch()  # so that nothing is started
    flags = {"data.path": str(tmp_path / "data"), "run.output": str(tmp_path / "out")}
    flags |= {"train.framework": "keras", "train.model": "small_cnn"}
    config = load_config(None, {**flags, "evaluate.min_accuracy": 0.5})
    console = Console(force_terminal=terminal, width=500, record=True)
    display = LiveDisplay(console) if terminal else PlainDisplay(console)
    with pytest.raises(RunError, match="is not empty"):
        run_pipelines([config], display)
    assert "Note: max_regression 0.01 is finer than one image can tell: one of the 6" in (
        console.export_text()
    )
