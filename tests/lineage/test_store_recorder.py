"""What TFX and the recorder write, on each kind of store."""

from __future__ import annotations

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader
from servers import PASSWORD
from tfx.orchestration import metadata
from tfx.orchestration.portable import execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import standard_artifacts

from common.record.run import RUNNING, Run
from common.record.steps import Step, Training
from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.mlmd import mended
from lineage.store.setup import make_ready
from pipeline.recording.recorder import Recorder


@pytest.fixture(params=("sqlite", "mysql", "postgresql"))
def store(request, tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    for name in ("MYSQL_PWD", "PGPASSWORD"):
        monkeypatch.setenv(name, "")
    url = str(tmp_path / "metadata.sqlite")
    if request.param != "sqlite":
        server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
        url = server.url(f"recorder_{request.node.originalname}"[:60])
    connection = Connection.parse(url)
    make_ready(connection)
    with mended():
        yield connection


def start(recorder, node, **parameters):
    """A node's execution as TFX's launcher registers it."""
    with metadata.Metadata(recorder.connection) as handle:
        contexts = [
            context_lib.register_context_if_not_exists(handle, *c)
            for c in (("pipeline", "digits"), ("pipeline_run", recorder.run_id), ("node", node))
        ]
        execution = execution_lib.prepare_execution(
            handle,
            mlmd.ExecutionType(name=node),
            mlmd.Execution.RUNNING,
            exec_properties=parameters,
        )
        return execution_lib.put_execution(handle, execution, contexts), contexts


def test_a_node_is_recorded(store, tmp_path):
    recorder = Recorder(store.mlmd_config(), "digits", "run-1")
    recorder.annotate_run(Run(config={"name": "größe"}, seed=2**40))
    execution, contexts = start(recorder, "Trainer", custom_config='{"path": "a\\\\b"}')
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "größe")
    with metadata.Metadata(recorder.connection) as handle:
        execution_publish_utils.publish_succeeded_execution(
            handle, execution.id, contexts, {"model": [model]}
        )
    recorder.node_finished("Trainer", execution.id, 1.5)
    training = Training(peak_memory_bytes=3 * 2**30, loss=float("nan"), parity_onnx=1e-5)
    recorder.annotate("Trainer", training)
    recorder.annotate("Trainer", Step(error="it's \\ %s?"))
    for via in ("sql", "mlmd"):
        reader = open_reader(store, via)
        run = reader.context("pipeline_run", "run-1")
        assert run.custom["config"] == '{"name": "gr\\u00f6\\u00dfe"}'
        assert run.custom["seed"] == 2**40
        (recorded,) = reader.executions([execution.id]).values()
        assert recorded.state == "COMPLETE" and recorded.component == "Trainer"
        assert recorded.get("custom_config") == '{"path": "a\\\\b"}'
        found = {
            k: recorded.custom[k] for k in ("peak_memory_bytes", "loss", "parity_onnx", "error")
        }
        assert found == {
            "peak_memory_bytes": 3 * 2**30,
            "loss": "nan",
            "parity_onnx": 1e-5,
            "error": "it's \\ %s?",
        }
        (made,) = reader.artifacts_by_uri(model.uri)
        assert reader.producers([made.id]) == {made.id: execution.id}
        reader.close()


def test_a_run_that_was_killed_between_two_steps_has_ended(store):
    Recorder(store.mlmd_config(), "digits", "killed").annotate_run(Run(state=RUNNING))
    Recorder(store.mlmd_config(), "digits", "elsewhere").annotate_run(Run(state=RUNNING))
    recorder = Recorder(store.mlmd_config(), "digits", "now")
    recorder.annotate_run(Run(state=RUNNING))
    start(recorder, "Trainer")
    recorder.recover({"killed", "now"})
    reader = open_reader(store)
    found = {r: reader.context("pipeline_run", r).custom for r in ("killed", "elsewhere", "now")}
    reader.close()
    assert found["killed"]["state"] == "failed"
    assert str(found["killed"]["error"]).startswith("the process that ran it ended")
    assert found["elsewhere"]["state"] == "running" and found["now"]["state"] == "running"


def test_recovery_leaves_the_runs_of_other_folders_alone(store):
    """They share the store and the pipeline's name, and may be running."""
    recorder = Recorder(store.mlmd_config(), "digits", "now")
    recorder.recover({"killed"})  # the first run of all
    states = {}
    for run_id in ("killed", "elsewhere"):
        execution, _ = start(Recorder(store.mlmd_config(), "digits", run_id), "Trainer")
        states[run_id] = execution.id
    recorder.recover({"killed", "now"})
    reader = open_reader(store)
    found = reader.executions(states.values())
    assert found[states["killed"]].state == "FAILED"
    assert "ended without a word" in str(found[states["killed"]].custom["error"])
    assert found[states["elsewhere"]].state == "RUNNING"
    reader.close()
