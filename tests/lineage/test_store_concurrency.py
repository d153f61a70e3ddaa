"""Eight pipelines write to one store while others read it: no error, nothing lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import store_writer
from helpers import start_python
from reference_reader import open_reader
from servers import PASSWORD

from lineage.store.connection import PASSWORD_VARIABLE, Connection
from lineage.store.opening import backend
from lineage.store.setup import make_ready

WRITERS = 8
SCRIPT = str(Path(store_writer.__file__))


@pytest.mark.parametrize(("kind", "nodes"), [("sqlite", 8), ("mysql", 4), ("postgresql", 4)])
def test_eight_writers_and_three_readers(kind, nodes, request, tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    if kind == "sqlite":
        url = str(tmp_path / "metadata.sqlite")
    else:
        server = request.getfixturevalue("mariadb" if kind == "mysql" else kind)
        url = server.url("crowded")
    # The writers meet in a store that is not there yet.
    writers = [start_python(SCRIPT, "write", url, str(n), str(nodes)) for n in range(WRITERS)]
    make_ready(Connection.parse(url))
    readers = [start_reading(via, url) for via in ("sql", "sql", "mlmd")]
    written = [finish(w) for w in writers]
    seen = [finish(r, close=True) for r in readers]
    assert all(s["times"] > 0 for s in seen)
    check(Connection.parse(url), written, nodes)


def start_reading(via: str, url: str) -> subprocess.Popen[str]:
    return start_python(SCRIPT, via, url, stdin=True)


def finish(process: subprocess.Popen[str], close: bool = False) -> Any:
    output, trouble = process.communicate("stop\n" if close else None, timeout=300)
    assert process.returncode == 0, trouble[-3000:]
    return json.loads(output)


def check(connection: Connection, written: list[dict[str, Any]], nodes: int) -> None:
    """All that the writers say they wrote is there, once."""
    reader = open_reader(connection)
    runs = {c.name: c.id for c in reader.latest_contexts("pipeline_run")}
    assert sorted(runs) == sorted(w["run_id"] for w in written)
    by_run = reader.executions_in(runs.values())
    for one in written:
        assert by_run[runs[one["run_id"]]] == one["executions"]
        executions = reader.executions(one["executions"])
        assert {e.state for e in executions.values()} == {"COMPLETE"}
        assert {e.custom["run_id"] for e in executions.values()} == {one["run_id"]}
        artifacts = reader.artifacts(one["artifacts"])
        assert [a.uri for a in artifacts.values()] == [
            f"/{one['run_id']}/{n}" for n in range(nodes)
        ]
        events = [(e.execution_id, e.artifact_id, e.kind) for e in reader.events(one["executions"])]
        made = list(zip(one["executions"], one["artifacts"], strict=True))
        used = list(zip(one["executions"][1:], one["artifacts"], strict=False))
        expected = [(e, a, "output") for e, a in made] + [(e, a, "input") for e, a in used]
        assert sorted(events) == sorted(expected)
    count = len(written) * nodes
    assert len(reader.execution_states()) == len(list(reader.all_artifacts())) == count
    # Types and shared contexts were made once, whoever came first.
    assert len(reader.latest_contexts("pipeline")) == 1
    assert len(reader.latest_contexts("node")) == nodes
    reader.close()
    database = backend(connection).connect(connection)
    twice = "SELECT name FROM Type GROUP BY name, type_kind HAVING count(*) > 1"
    assert list(database.query(twice, [])) == []
    database.close()
