"""The tasks: what a config may name is what there is, and what each of them promises."""

from __future__ import annotations

from typing import get_args, get_type_hints

import numpy as np
import pytest

from components.evaluator.verdict import EvaluateConfig
from modelstore.tasks import TASKS, task_of
from trainers.config import TrainConfig


def test_a_config_names_what_there_is() -> None:
    assert set(get_args(get_type_hints(TrainConfig)["task"])) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_the_headline_comes_first_and_settings_are_of_the_evaluator(name: str) -> None:
    task = TASKS[name]
    assert (name, task.METRICS[0].name) == (task.NAME, task.HEADLINE)
    fields = {field for metric in task.METRICS for field in metric.settings.values()}
    assert fields <= set(EvaluateConfig.__slots__)


def test_a_model_that_does_not_say_classifies() -> None:
    assert task_of({"framework": "keras"}).NAME == "classification"


def test_classification_by_hand() -> None:
    task = TASKS["classification"]
    scores_NC = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]], np.float32)
    loss, right = task.measure(scores_NC, np.array([2, 1]), np.ones(2, np.float32))
    assert loss == pytest.approx(-np.log(0.3) - np.log(0.8))
    assert right == 1
    assert task.answer([0.5, 0.2, 0.3], ["a", "b", "c"], 2) == [("a", 0.5), ("c", 0.3)]
