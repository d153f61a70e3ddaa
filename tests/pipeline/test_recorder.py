"""What a killed run leaves behind, and what the next one makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lineage_store import Builder
from ml_metadata.proto import metadata_store_pb2 as mlmd


@pytest.mark.parametrize(("said", "state"), [("running", "failed"), ("cancelled", "cancelled")])
def test_a_killed_run_is_marked_as_failed_by_the_next(
    tmp_path: Path, said: str, state: str
) -> None:
    from pipeline.recording.recorder import Recorder

    path = tmp_path / "metadata.sqlite"
    builder = Builder(path)
    killed = builder.run("run-a", run_properties={"state": said}, fails="Trainer")
    (trainer,) = builder.store.get_executions_by_id([killed.executions["Trainer"]])
    trainer.last_known_state = mlmd.Execution.RUNNING
    builder.store.put_executions([trainer])
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    Recorder(connection, "digits", "run-b").recover({"run-a"})
    (trainer,) = builder.store.get_executions_by_id([trainer.id])
    assert trainer.last_known_state == mlmd.Execution.FAILED
    assert "ended without a word" in trainer.custom_properties["error"].string_value
    run = builder.store.get_context_by_type_and_name("pipeline_run", "run-a")
    assert run.custom_properties["state"].string_value == state
    error = run.custom_properties["error"].string_value
    assert error.startswith("Trainer: the process") == (said == "running")
