"""What lineage says of trials in the server: of runs with them, without, and of TFX's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from lineage_store import Builder, BuiltRun, _event, _set
from ml_metadata.proto import metadata_store_pb2 as mlmd

from lineage.drawing.depict import depict
from lineage.graph.refs import find_model
from lineage.graph.versions import comparable_latencies
from lineage.questions.history import history
from lineage.questions.model import model_lineage
from lineage.questions.runs import list_runs
from lineage.questions.verdicts import why_not_blessed
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.reader import Reader

pytestmark = pytest.mark.quick

OURS = "components.infra_validation.component.InfraValidator"
TFX = "tfx.components.infra_validator.component.InfraValidator"
TIMES = {"rest_p50_ms": 3.5, "rest_p99_ms": 9.0, "grpc_p50_ms": 2.5, "grpc_p99_ms": 8.0}
GOOD = {"blessed": 1, "engine": "onnx", "loading_seconds": 1.5, "examples": 16, **TIMES}
WHY = "model.onnx cannot be loaded"
SKIPPED = {
    "run-skipped": {"skipped": "not tried, since the Evaluator did not bless the model"},
    "run-skipped-before": {
        "blessed": 0,
        "examples": 0,
        "why_not_blessed": "the server was not asked: the Evaluator did not bless the model",
    },
}
"""As it is recorded, and as it was."""


def tried(
    builder: Builder,
    run: BuiltRun,
    values: Mapping[str, Any],
    *,
    type_name: str = OURS,
    blessed: int,
    after: bool = True,
) -> int:
    """Adds a trial of a run's model to the store; the id of the InfraBlessing."""
    given = ["Trainer.model", *(["Evaluator.blessing"] if after else [])]
    id_ = builder.artifact("InfraBlessing", f"/x/{run.run_id}", {"blessed": blessed})
    pairs = [(run.artifacts[p], mlmd.Event.INPUT, _KEYS[p]) for p in given]
    execution = mlmd.Execution(
        type_id=builder.type("execution", type_name), last_known_state=mlmd.Execution.COMPLETE
    )
    _set(execution, values)
    by_id = {a.id: a for a in builder.store.get_artifacts_by_id([id_, *(i for i, _, _ in pairs)])}
    (context,) = builder.store.get_contexts_by_id([run.context_id])
    builder.store.put_execution(
        execution,
        [
            (by_id[i], _event(k, key))
            for i, k, key in [*pairs, (id_, mlmd.Event.OUTPUT, "blessing")]
        ],
        [context],
    )
    return id_


_KEYS = {"Trainer.model": "model", "Evaluator.blessing": "model_blessing"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that were tried before the step was there, well, badly, not at all, by TFX's own."""
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    trained = {"Trainer": {"latency_onnx_ms": 0.5}, "Evaluator": {"accuracy": 0.9}}
    builder.run("run-old", version=1, properties=trained)
    good = builder.run("run-good", version=2, properties=trained)
    tried(builder, good, {**GOOD, "run_id": "run-good"}, blessed=1)
    bad = builder.run(
        "run-bad",
        version=None,
        properties={**trained, "Evaluator": {"accuracy": 0.9, "blessed": 1}},
        artifact_properties={"Evaluator.blessing": {"blessed": 1}},
    )
    values = {"blessed": 0, "why_not_blessed": WHY, "run_id": "run-bad"}
    tried(builder, bad, values, blessed=0)
    unblessed = {"Evaluator": {"accuracy": 0.2, "blessed": 0, "why_not_blessed": "too low"}}
    for run_id, words in SKIPPED.items():
        lost = builder.run(
            run_id,
            version=None,
            properties={**trained, **unblessed},
            artifact_properties={"Evaluator.blessing": {"blessed": 0}},
        )
        tried(builder, lost, {**words, "run_id": run_id}, blessed=0)
    other = builder.run("run-tfx", name="tfx", version=3, foreign=True, record_run=False)
    tried(builder, other, {}, type_name=TFX, blessed=1, after=False)
    return path


@pytest.fixture
def reader(store: Path) -> Reader:
    return open_reader(Connection.parse(str(store)))


def test_a_model_s_trials_are_told(reader: Reader) -> None:
    assert model_lineage(reader, "run-old").infra_verdicts == ()
    found = model_lineage(reader, "run-good")
    (trial,) = found.infra_verdicts
    assert (trial.blessed, trial.engine, trial.run_id) == (True, "onnx", "run-good")
    assert (trial.grpc_p50_ms, trial.rest_p99_ms, trial.examples) == (2.5, 9.0, 16)
    assert "InfraValidator" in [s.component for s in found.producers]
    assert len(found.verdicts) == 1, "a trial is no evaluation"


def test_of_tfx_s_own_the_verdict_alone_is_known(reader: Reader) -> None:
    (trial,) = model_lineage(reader, "run-tfx").infra_verdicts
    assert trial.blessed is True and trial.engine is None and trial.grpc_p50_ms is None


def test_history_takes_the_server_s_latency(reader: Reader) -> None:
    old, good = history(reader, "digits-keras").versions
    assert (old.latency_ms, old.latency_of) == (0.5, "onnx")
    assert (good.latency_ms, good.latency_of) == (2.5, "server")
    assert (old.headline_value, good.headline_value, good.blessed) == (0.9, 0.9, True)
    # Nor drawn as one curve: the newest one's kind, and what it is.
    assert comparable_latencies([old, good]) == ([None, 2.5], "gRPC")
    (other,) = history(reader, "tfx").versions
    assert (other.latency_ms, other.latency_of) == (None, None)


def test_latencies_of_two_kinds_are_not_compared(store: Path, cli: Cli) -> None:
    shown = cli("lineage", "history", "digits-keras", "--metadata", store)
    lines = [line.split("\t") for line in shown.stdout.splitlines()]
    latency = lines[0].index("latency")
    assert [line[latency : latency + 2] for line in lines[1:]] == [
        ["0.50 ms ONNX Runtime", "-"],
        ["2.50 ms gRPC", "-"],
    ]


def test_why_a_model_was_not_pushed(reader: Reader) -> None:
    found = why_not_blessed(reader, "run-bad")
    assert found.verdict.blessed is True and found.blessed is False
    assert found.infra is not None and found.infra.why_not_blessed == WHY
    assert why_not_blessed(reader, "run-good").blessed is True
    old = why_not_blessed(reader, "run-old")
    assert old.infra is None and old.blessed is True


def test_the_command_says_why(store: Path, cli: Cli) -> None:
    shown = cli("lineage", "why-not-blessed", "run-bad", "--metadata", store)
    assert shown.returncode == 0, shown.stderr
    assert "not blessed by infra validation" in shown.stdout and WHY in shown.stdout
    told = json.loads(
        cli("lineage", "why-not-blessed", "run-bad", "--metadata", store, "--json").stdout
    )
    assert told["infra"]["why_not_blessed"] == WHY
    assert cli("lineage", "why-not-blessed", "run-good", "--metadata", store).returncode == 4
    model = cli("lineage", "model", "run-bad", "--metadata", store).stdout
    assert WHY in model
    model = cli("lineage", "model", "run-good", "--metadata", store).stdout
    assert "2.50 ms, 99 % within 8.00 ms\n" in model and "one image a request" in model


def test_runs_count_it_as_not_blessed(reader: Reader) -> None:
    found = {r.run_id: r.blessed for r in list_runs(reader).runs}
    assert found == {
        **{"run-old": True, "run-good": True, "run-bad": False, "run-tfx": True},
        **dict.fromkeys(SKIPPED, False),
    }


@pytest.mark.parametrize(
    ("ref", "title", "state"),
    [("run-good", "Servable", "made"), ("run-bad", "Not servable", "failed")],
)
def test_the_drawing_has_the_trial(reader: Reader, ref: str, title: str, state: str) -> None:
    drawing = depict(reader, find_model(reader, ref))
    nodes = {n.id: n for n in drawing.nodes}
    (trial,) = (n for n in drawing.nodes if n.title == title)
    assert trial.state == state
    before = {nodes[e.source].title for e in drawing.edges if e.target == trial.id}
    assert before == {"InfraValidator"}
    judged = {
        nodes[e.source].title for e in drawing.edges if nodes[e.target].title == "InfraValidator"
    }
    assert judged == {"Model", "Blessed"}


@pytest.mark.parametrize("run", SKIPPED)
def test_a_model_that_was_not_tried_is_called_skipped(
    store: Path, reader: Reader, cli: Cli, run: str
) -> None:
    why = "not tried, since the Evaluator did not bless the model"
    (trial,) = model_lineage(reader, run).infra_verdicts
    assert (trial.blessed, trial.skipped, trial.why_not_blessed) == (None, why, None)
    asked = why_not_blessed(reader, run)
    assert asked.blessed is False and asked.infra == trial
    drawing = depict(reader, find_model(reader, run))
    (node,) = (n for n in drawing.nodes if n.record == trial.execution_id and "v" in n.id)
    assert (node.title, node.state, node.details) == ("Skipped in the server", "made", (why,))
    shown = cli("lineage", "model", run, "--metadata", store).stdout
    assert f"in the server\tverdict\tskipped\nin the server\twhy not\t{why}" in shown
    asked_of = cli("lineage", "why-not-blessed", run, "--metadata", store).stdout
    assert "too low" in asked_of and "server" not in asked_of
    page = cli("lineage", "export", run, "--format", "html", "--metadata", store).stdout
    assert "skipped" in page and why in page
    for told in (shown, page, "".join(n.title for n in drawing.nodes)):
        assert "ot servable" not in told
