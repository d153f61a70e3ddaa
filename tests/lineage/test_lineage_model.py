"""Lineage of a model on built stores: reuse, baselines, missing facts; both readers agree."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from lineage_store import Builder
from reference_reader import open_reader

from lineage.questions.model import model_lineage
from lineage.store.connection import Connection

pytestmark = pytest.mark.quick

Via = Literal["sql", "mlmd"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: the second reuses the data steps, the third all of the second."""
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    first = builder.run("run-a", version=1)
    data_steps = (
        "ImageExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "ExampleValidator",
        "Transform",
        "ArrayGen",
    )
    second = builder.run(
        "run-b",
        version=2,
        reused=dict.fromkeys(data_steps, first),
        baseline=first.artifacts["Trainer.model"],
    )
    builder.run("run-c", reused=dict.fromkeys(second.executions, second))
    return path


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_reuse_leads_to_the_work_and_baselines_are_cut(store: Path, via: Via) -> None:
    found = model_lineage(open_reader(Connection.parse(str(store)), via), "digits-keras@2")
    assert [(s.component, s.run_id) for s in found.producers] == [
        *((n, "run-a") for n in ("ImageExampleGen", "StatisticsGen", "SchemaGen", "Transform")),
        ("ArrayGen", "run-a"),
        *((n, "run-b") for n in ("Trainer", "Evaluator", "Pusher")),
    ]
    assert found.run is not None and found.run.run_id == "run-b"
    assert [v.baseline for v in found.verdicts] == ["digits-keras@1"]
    with_baseline = model_lineage(
        open_reader(Connection.parse(str(store)), via), "digits-keras@2", cut=()
    )
    trainers = [s.run_id for s in with_baseline.producers if s.component == "Trainer"]
    assert trainers == ["run-a", "run-b"]


def test_both_readers_answer_the_same(store: Path) -> None:
    connection = Connection.parse(str(store))
    for ref in ("digits-keras@1", "digits-keras", "run-c", "run-b"):
        assert model_lineage(open_reader(connection, "sql"), ref) == model_lineage(
            open_reader(connection, "mlmd"), ref
        )
