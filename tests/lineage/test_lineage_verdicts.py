"""Why a model was not blessed: as recorded, in words only, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from lineage_store import Builder, BuiltRun
from reference_reader import open_reader

from common.config.strict import dump
from common.errors import NotFoundError
from components.evaluator.verdict import FailedThreshold
from lineage.questions.verdicts import why_not_blessed
from lineage.store.connection import Connection
from lineage.store.reader import Reader

pytestmark = pytest.mark.quick

CLASS = FailedThreshold(
    metric="accuracy",
    slice={"label": "7"},
    kind="min",
    threshold=0.9,
    actual=0.75,
    baseline=None,
    shortfall=0.15,
)
REGRESSION = FailedThreshold(
    metric="accuracy",
    slice={},
    kind="regression",
    threshold=0.01,
    actual=0.9,
    baseline=0.95,
    shortfall=0.04,
)
EMPTY = FailedThreshold(
    metric="accuracy",
    slice={"site": "north", "label": "7"},
    kind="min",
    threshold=0.9,
    actual=None,
    baseline=None,
    shortfall=None,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, BuiltRun]]:
    path = tmp_path_factory.mktemp("verdicts") / "metadata.sqlite"
    builder = Builder(path)

    def run(run_id: str, **properties: Any) -> BuiltRun:
        version = properties.pop("version", None)
        return builder.run(run_id, version=version, properties={"Evaluator": properties})

    blessed = run("blessed", version=1, accuracy=0.99)
    runs = {
        "blessed": blessed,
        "recorded": run(
            "recorded",
            accuracy=0.9,
            why_not_blessed=f"{REGRESSION}\n{CLASS}",
            failed_thresholds=json.dumps(dump([REGRESSION, CLASS])),
        ),
        "words": run("words", why_not_blessed="accuracy on all images is too low"),
        "later": run("later", failed_thresholds='[{"metric": "accuracy", "unknown": 1}]'),
        "foreign": builder.run("foreign", version=None, foreign=True),
        "failed": builder.run(
            "failed",
            fails="Evaluator",
            properties={"Evaluator": {"error": "Evaluator: no memory"}},
        ),
        # The first model again, judged by another bar.
        "again": builder.run(
            "again",
            version=None,
            reused={"Trainer": blessed},
            properties={"Evaluator": {"why_not_blessed": "the bar was raised"}},
        ),
    }
    model = builder.artifact("Model", "/somewhere/else", {})
    runs["untouched"] = BuiltRun("untouched", 0, artifacts={"Trainer.model": model})
    return path, runs


def reader_of(store: tuple[Path, Any], via: Literal["sql", "mlmd"] = "sql") -> Reader:
    return open_reader(Connection.parse(str(store[0])), via)


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_what_was_recorded_is_told_in_numbers(
    store: tuple[Path, dict[str, BuiltRun]], via: Literal["sql", "mlmd"]
) -> None:
    found = why_not_blessed(reader_of(store, via), "recorded")
    assert found.verdict.blessed is False
    assert found.failed == (REGRESSION, CLASS)
    assert found.verdict.why_not_blessed == (str(REGRESSION), str(CLASS))


def test_words_where_there_are_no_numbers(store: tuple[Path, dict[str, BuiltRun]]) -> None:
    found = why_not_blessed(reader_of(store), "words")
    assert found.failed is None
    assert found.verdict.why_not_blessed == ("accuracy on all images is too low",)


def test_numbers_of_a_later_version_are_passed_over(
    store: tuple[Path, dict[str, BuiltRun]],
) -> None:
    assert why_not_blessed(reader_of(store), "later").failed is None


def test_another_pipelines_verdict_is_in_its_blessing(
    store: tuple[Path, dict[str, BuiltRun]],
) -> None:
    found = why_not_blessed(reader_of(store), "foreign")
    assert (found.verdict.blessed, found.failed, found.verdict.why_not_blessed) == (False, None, ())
    assert found.evaluation is not None and "Evaluator/evaluation" in found.evaluation


def test_the_run_says_which_verdict_is_meant(store: tuple[Path, dict[str, BuiltRun]]) -> None:
    reader, (_, runs) = reader_of(store), store
    assert why_not_blessed(reader, "blessed").verdict.blessed is True
    assert why_not_blessed(reader, "again").verdict.why_not_blessed == ("the bar was raised",)
    model = runs["blessed"].artifacts["Trainer.model"]
    assert why_not_blessed(reader, str(model)).verdict.run_id == "again"
    blessing = runs["blessed"].artifacts["Evaluator.blessing"]
    assert why_not_blessed(reader, str(blessing)).verdict.run_id == "blessed"


def test_a_model_without_verdict(store: tuple[Path, dict[str, BuiltRun]]) -> None:
    reader, (_, runs) = reader_of(store), store
    with pytest.raises(NotFoundError, match="its Evaluator is FAILED: Evaluator: no memory"):
        why_not_blessed(reader, "failed")
    model = runs["untouched"].artifacts["Trainer.model"]
    with pytest.raises(NotFoundError, match="was never evaluated, so there is no verdict"):
        why_not_blessed(reader, str(model))


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        (CLASS, "accuracy on class '7' is 0.7500, 0.1500 below the least allowed 0.9000"),
        (
            REGRESSION,
            "accuracy on all images changed by -0.0500 against the model pushed before; "
            "at most 0.0100 may be lost",
        ),
        (
            EMPTY,
            "accuracy on site 'north' and class '7' has no value; the least allowed is 0.9000",
        ),
    ],
    ids=["class", "regression", "empty"],
)
def test_in_words(failed: FailedThreshold, words: str) -> None:
    assert str(failed) == words


def test_the_question_loads_neither_tfx_nor_tensorflow() -> None:
    code = "import sys, lineage.questions.verdicts; print(sorted({'tfx', 'tensorflow', "
    code += "'ml_metadata', 'apache_beam', 'tensorflow_model_analysis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
