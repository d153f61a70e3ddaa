"""The latest runs, and one run, on built stores; both readers agree."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Literal

import pytest
from lineage_store import COMPONENTS, Builder
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader
from typer.testing import CliRunner

from common.errors import ConfigError, Exit
from common.process import folder_lock
from lineage.questions.run_detail import run_detail
from lineage.questions.runs import RunSummary, list_runs
from lineage.store.connection import Connection
from lineage.store.reader import Reader
from pipeline.cli.main import app

pytestmark = pytest.mark.quick

Via = Literal["sql", "mlmd"]
ERROR = "Trainer: [bold]out of memory[/bold] <b>\nTry a smaller batch."


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind."""
    path = tmp_path_factory.mktemp("runs") / "metadata.sqlite"
    builder = Builder(path)
    ours = {"pipeline": "digits", "user": "ada", "framework": "keras", "model": "small_cnn"}
    judged = {"Evaluator": {"accuracy": 0.875}}

    def run(run_id: str, state: str, **more: Any) -> Any:
        properties = {**ours, "state": state, **more.pop("run_properties", {})}
        return builder.run(run_id, run_properties=properties, **more)

    first = run("run-a", "complete", properties=judged, run_properties={"duration_seconds": 90.0})
    run("run-b", "complete", reused=dict.fromkeys(COMPONENTS, first))
    run("run-c", "complete", version=None)
    run("run-d", "failed", fails="Trainer", run_properties={"error": ERROR})
    run("run-e", "running", fails="Transform")  # killed, and found by a later run
    cancelled = run("run-f", "cancelled", fails="Evaluator")
    _set_state(builder, cancelled.executions["Evaluator"], mlmd.Execution.CANCELED)
    going = run("run-g", "running", fails="StatisticsGen")
    _set_state(builder, going.executions["StatisticsGen"], mlmd.Execution.RUNNING)
    builder.run("foreign", pipeline="theirs", record_run=False, version=None)
    builder.run("foreign-failed", pipeline="theirs", record_run=False, fails="SchemaGen")
    return path


def _set_state(builder: Builder, execution_id: int, state: int) -> None:
    (execution,) = builder.store.get_executions_by_id([execution_id])
    execution.last_known_state = state
    builder.store.put_executions([execution])


@pytest.fixture(params=["sql", "mlmd"])
def reader(path: Path, request: pytest.FixtureRequest) -> Reader:
    return open_reader(Connection.parse(str(path)), request.param)


def _by_id(reader: Reader) -> dict[str, RunSummary]:
    return {r.run_id: r for r in list_runs(reader).runs}


def test_newest_first_up_to_the_limit(reader: Reader) -> None:
    names = ["foreign-failed", "foreign", *(f"run-{c}" for c in "gfedcba")]
    assert [r.run_id for r in list_runs(reader).runs] == names
    assert [r.run_id for r in list_runs(reader, limit=3).runs] == names[:3]


def test_a_run_says_what_it_made(reader: Reader) -> None:
    run = _by_id(reader)["run-a"]
    assert (run.framework, run.model, run.user, run.pipeline) == (
        *("keras", "small_cnn", "ada", "digits"),
    )
    assert (run.headline_value, run.blessed, run.pushed) == (0.875, True, "digits-keras@1")
    assert (run.cached, run.executed, run.duration_seconds) == (0, 9, 90.0)


def test_reuse_is_followed_to_the_evaluation_that_was_done(reader: Reader) -> None:
    run = _by_id(reader)["run-b"]
    assert (run.cached, run.executed) == (9, 0)
    assert (run.headline_value, run.pushed, run.pushed_before) == (0.875, "digits-keras@1", True)


def test_not_blessed_is_not_pushed(reader: Reader) -> None:
    run = _by_id(reader)["run-c"]
    assert (run.blessed, run.pushed, run.headline_value) == (False, None, None)


def test_states(reader: Reader) -> None:
    found = {k: v.state for k, v in _by_id(reader).items()}
    assert found == {
        **dict.fromkeys(("run-a", "run-b", "run-c", "foreign"), "complete"),
        **dict.fromkeys(("run-d", "run-e", "foreign-failed"), "failed"),
        **{"run-f": "cancelled", "run-g": "running"},
    }


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ({"state": "failed"}, ["foreign-failed", "run-e", "run-d"]),
        ({"state": "failed", "limit": 2}, ["foreign-failed", "run-e"]),
        ({"state": "running"}, ["run-g"]),
        ({"state": "cancelled"}, ["run-f"]),
        ({"pipeline": "theirs"}, ["foreign-failed", "foreign"]),
        ({"pipeline": "digits", "state": "failed"}, ["run-e", "run-d"]),
        ({"pipeline": "nobody's"}, []),
    ],
)
def test_only_some(reader: Reader, wanted: dict[str, Any], runs: list[str]) -> None:
    assert [r.run_id for r in list_runs(reader, **wanted).runs] == runs


def test_pages_are_read_until_there_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.questions.runs._PAGE", 3)
    builder = Builder(tmp_path / "metadata.sqlite")
    for number in range(11):
        builder.context("pipeline_run", f"run-{number:02d}", {})
        if number % 5 == 0:
            builder.run(f"run-{number:02d}", record_run=False, fails="ImageExampleGen")
    reader = open_reader(Connection.parse(str(tmp_path / "metadata.sqlite")))
    found = [r.run_id for r in list_runs(reader, limit=2, state="failed").runs]
    assert found == ["run-10", "run-05"]
    assert len(list_runs(reader, limit=20, state="failed").runs) == 3


def test_a_run_whose_process_is_gone_is_not_said_to_run(tmp_path: Path) -> None:
    """As far as that can be known: on this machine, by the lock of its folder."""
    builder = Builder(tmp_path / "metadata.sqlite")
    here = {"state": "running", "host": socket.gethostname(), "pipeline": "digits"}
    here |= {"directory": str(tmp_path), "config": json.dumps({"run": {"output": "out"}})}
    default = {**here, "config": json.dumps({"run": {"output": None}})}
    for name, properties in (
        ("here", here),
        ("default-folder", default),
        ("elsewhere", {**here, "host": "another.example.org"}),
        ("moved", {**here, "directory": str(tmp_path / "gone")}),
    ):
        run = builder.run(name, run_properties=properties, fails="Trainer")
        (trainer,) = builder.store.get_executions_by_id([run.executions["Trainer"]])
        trainer.last_known_state = trainer.RUNNING
        builder.store.put_executions([trainer])
    reader = open_reader(Connection.parse(str(tmp_path / "metadata.sqlite")))

    def states() -> dict[str, str]:
        return {r.run_id: r.state for r in list_runs(reader).runs}

    assert set(states().values()) == {"running"}, "no lock, nothing is known"
    for folder in (tmp_path / "out", tmp_path / "visionline-runs" / "digits"):
        folder.mkdir(parents=True)
        with folder_lock.hold(folder):
            assert set(states().values()) == {"running"} or folder.name == "digits"
    ended = {"here": "failed", "default-folder": "failed"}
    assert states() == {**ended, "elsewhere": "running", "moved": "running"}
    assert [r.run_id for r in list_runs(reader, state="failed").runs] == ["default-folder", "here"]
    (shown, _) = (r for r in list_runs(reader).runs if r.state == "failed")
    assert str(shown.error).startswith("Trainer: the process that ran it ended")
    detail = run_detail(reader, "here")
    assert detail.run.state == "failed" and detail.run.error == shown.error
    assert {s.component: s.state for s in detail.steps}["Trainer"] == "FAILED"


def test_a_state_that_is_none(reader: Reader) -> None:
    with pytest.raises(ConfigError, match=r"'fialed'.*'failed'"):
        list_runs(reader, state="fialed")


def test_foreign_runs_lack_only_what_is_not_recorded(reader: Reader) -> None:
    run = _by_id(reader)["foreign"]
    assert (run.pipeline, run.framework, run.user) == ("theirs", None, None)
    assert run.headline_value is None
    assert run.executed == 9 and run.duration_seconds is not None
    failed = _by_id(reader)["foreign-failed"]
    assert failed.error is not None and failed.error.startswith("SchemaGen: ")


def test_detail_says_who_did_the_work(reader: Reader) -> None:
    found = run_detail(reader, "run-b")
    assert [s.component for s in found.steps] == list(COMPONENTS)
    for step in found.steps:
        assert step.state == "CACHED" and step.reused is not None
        assert (step.reused.run_id, step.reused.duration_seconds) == ("run-a", 1.5)
    trainer = next(s for s in found.steps if s.component == "Trainer")
    assert [p.key for p in trainer.inputs] == ["arrays", "raw_examples", "transform_graph"]
    (model,) = [p for p in trainer.outputs if p.key == "model"]
    assert (model.type, model.state) == ("Model", "LIVE") and model.uri.startswith("/")


def test_detail_is_found_by_what_the_run_made(reader: Reader) -> None:
    assert run_detail(reader, "digits-keras@1").run.run_id == "run-a"


def test_detail_of_runs_that_ended_early(reader: Reader) -> None:
    failed = run_detail(reader, "run-d")
    assert (failed.run.state, failed.run.error) == ("failed", ERROR)
    assert [s.component for s in failed.steps][-1] == "Trainer"
    assert failed.steps[-1].state == "FAILED" and not failed.steps[-1].outputs
    assert run_detail(reader, "run-e").run.state == "failed"
    assert run_detail(reader, "run-f").run.state == "cancelled"
    assert run_detail(reader, "run-f").steps[-1].state == "CANCELED"
    assert run_detail(reader, "run-g").run.state == "running"


def test_both_readers_answer_the_same(path: Path) -> None:
    sql, mlmd_ = (open_reader(Connection.parse(str(path)), via) for via in ("sql", "mlmd"))
    assert list_runs(sql) == list_runs(mlmd_)
    for run in list_runs(sql).runs:
        assert run_detail(sql, run.run_id) == run_detail(mlmd_, run.run_id)


def test_resolvers_are_no_steps(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    built = builder.run("run-a")
    resolver = mlmd.Execution(
        type_id=builder.type("execution", "tfx.dsl.components.common.resolver.Resolver"),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    contexts = builder.store.get_contexts_by_id([built.context_id])
    builder.store.put_execution(resolver, [], contexts)
    reader = open_reader(Connection.parse(str(tmp_path / "metadata.sqlite")))
    assert len(run_detail(reader, "run-a").steps) == 9
    assert run_detail(reader, "run-a", resolvers=True).steps[-1].component == "Resolver"
    assert list_runs(reader).runs[0].executed == 9


def test_command_line(path: Path) -> None:
    def ask(*args: str) -> Any:
        return CliRunner().invoke(app, ["lineage", *args, "--metadata", str(path)])

    listed = ask("runs")
    assert listed.exit_code == 0
    header, *rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert len(rows) == 9 and all(len(row) == len(header) for row in rows)
    by_run = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_run["run-b"]["pushed"] == "(digits-keras@1)"
    assert by_run["run-c"]["pushed"] == "not blessed"
    assert ask("runs", "--state", "fialed").exception.exit_code == 2
    nothing = ask("runs", "--pipeline", "none")
    assert nothing.exit_code == Exit.NOTHING_FOUND and nothing.stdout == ""
    failed = ask("run", "run-d")
    assert failed.exit_code == 0
    assert " ".join(ERROR.split()) in failed.stdout, "markup is shown as it is"
    assert ask("run", "run-z").exception.exit_code == Exit.NOTHING_FOUND


def test_the_whole_error_is_shown_in_a_terminal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    shown = CliRunner().invoke(app, ["lineage", "run", "run-d", "--metadata", str(path)]).stdout
    for line in ERROR.splitlines():
        assert line in shown
    assert "█" in shown
