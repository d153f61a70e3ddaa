"""Runs after a run: cache, baseline, verdicts, validation, failures, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Demo, Store, command, environment
from PIL import Image

from pipeline.config import PipelineConfig
from pipeline.demo import demo_config
from pipeline.session import Finished, run_pipelines
from pipeline.workspace import Workspace

DATA_STEPS = ("ImageExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")


class Recorded:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def start(self, config: PipelineConfig, log: Path) -> None: ...

    def handle(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def stop(self) -> None: ...


def _copy(demo: Demo, target: Path) -> tuple[Path, Path]:
    """Images and serving folder of one's own; the pipeline's folder is shared."""
    shutil.copytree(demo.images, target / "images")
    shutil.copytree(demo.serving, target / "serving")
    return target / "images", target / "serving"


def _config(demo: Demo, framework: str = "keras", **changes: Any) -> PipelineConfig:
    """The demo's own config, with parts of it changed."""
    config = demo_config(demo.root, demo.images, framework)
    for part, values in changes.items():
        value = values
        if isinstance(values, dict):
            value = dataclasses.replace(getattr(config, part), **values)
        config = dataclasses.replace(config, **{part: value})
    return config


@pytest.fixture(scope="module")
def later_runs(demo: Demo) -> list[Finished]:
    """Four more runs in one process, so that TFX is loaded once."""
    configs = [
        # As before, unchanged.
        _config(demo),
        # PyTorch's model under Keras' name: the baseline is the Keras model.
        _config(demo, "pytorch", name="digits-keras"),
        # A changed training parameter.
        _config(demo, train={"epochs": 1}, evaluate={"min_accuracy": 0.05, "max_regression": 0.9}),
        # A bar that cannot be reached.
        _config(demo, evaluate={"min_accuracy": 1.0, "min_class_accuracy": 1.0}),
    ]
    return run_pipelines(configs, Recorded())


def test_repeated_run_is_all_cache(demo: Demo, later_runs: list[Finished]) -> None:
    summary = later_runs[0].summary
    states = Store(demo.workspace).states(summary["run_id"])
    assert len(states) == 8 and set(states.values()) == {"CACHED"}
    assert summary["version"] == 1
    assert summary["accuracy"] == demo.summary["runs"][0]["accuracy"]


def test_baseline_is_the_model_last_pushed_whatever_made_it(
    demo: Demo, later_runs: list[Finished]
) -> None:
    keras, pytorch = demo.summary["runs"]
    summary = later_runs[1].summary
    assert summary["framework"] == "pytorch"
    assert summary["baseline_accuracy"] == pytest.approx(keras["accuracy"])
    assert summary["accuracy"] == pytest.approx(pytorch["accuracy"])
    assert summary["blessed"] == (
        pytorch["accuracy"] >= keras["accuracy"] - 0.01
    ), "the verdict follows max_regression"
    assert Store(demo.workspace).states(summary["run_id"])["Trainer"] == "CACHED"


def test_changed_training_parameter_runs_from_trainer_on(
    demo: Demo, later_runs: list[Finished]
) -> None:
    if later_runs[1].summary["blessed"] is False:
        pytest.fail("the run before was not blessed, so the later ones were not run")
    summary = later_runs[2].summary
    states = Store(demo.workspace).states(summary["run_id"])
    assert {states[n] for n in DATA_STEPS} == {"CACHED"}
    assert {states[n] for n in ("Trainer", "Evaluator", "Pusher")} == {"COMPLETE"}
    assert summary["version"] == 3
