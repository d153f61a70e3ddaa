"""What Kubeflow took from its cache is recorded as what TFX took from its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from lineage_store import COMPONENTS, Builder

from lineage.questions.run_detail import RunDetail, run_detail
from lineage.questions.runs import list_runs
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.reader import Reader
from pipeline.kubeflow.task.cached import record_cached

pytestmark = pytest.mark.quick

TAKEN = [node for node in COMPONENTS if node != "Pusher"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "metadata.sqlite"
    builder = Builder(path)
    told = {"Trainer": {"config": "{}", "accuracy": 0.5}, "Evaluator": {"accuracy": 0.75}}
    builder.run("first", properties=told)
    builder.run("other", properties=told)
    builder.context("pipeline_run", "second", {"state": "complete", "pipeline": "digits"})
    record_cached(builder.store, "second", dict.fromkeys(TAKEN, "first"))
    return path


def reader_of(path: Path) -> Reader:
    return open_reader(Connection.parse(str(path)))


def second(path: Path) -> RunDetail:
    return run_detail(reader_of(path), "second")


def test_each_step_is_cached_and_says_who_did_the_work(path: Path) -> None:
    steps = second(path).steps
    assert [(s.component, s.state) for s in steps] == [(node, "CACHED") for node in TAKEN]
    assert {s.reused.run_id for s in steps if s.reused} == {"first"}
    assert all(s.reused is not None and s.duration_seconds is None for s in steps)


def test_it_has_the_inputs_and_outputs_of_the_work(path: Path) -> None:
    works = {s.component: s for s in run_detail(reader_of(path), "first").steps}
    for step in second(path).steps:
        assert (step.inputs, step.outputs) == (
            works[step.component].inputs,
            works[step.component].outputs,
        )


def test_parameters_are_its_own_and_results_are_not(path: Path) -> None:
    reader = reader_of(path)
    ids = {s.component: s.execution_id for s in second(path).steps}
    (trainer,) = reader.executions([ids["Trainer"]]).values()
    assert dict(trainer.custom) == {"config": "{}", "node_id": "Trainer", "run_id": "second"}


def test_it_began_with_its_run(path: Path) -> None:
    found = second(path)
    assert {s.started for s in found.steps} == {found.run.started}


def test_the_run_s_accuracy_is_that_of_the_work(path: Path) -> None:
    (run,) = (r for r in list_runs(reader_of(path)).runs if r.run_id == "second")
    assert (run.headline_value, run.cached, run.executed) == (0.75, len(TAKEN), 0)


def test_nothing_taken_is_nothing_recorded(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    builder.run("first")
    record_cached(builder.store, "first", {})
    assert len(builder.store.get_executions()) == len(COMPONENTS)
