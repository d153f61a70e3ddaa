"""One question about a store, asked in this process; prints how long the answer took.

    python -m benchmarks.lineage_reference metadata.sqlite mlmd model birds-keras@20

As JSON: `seconds` from an open reader to the answer, without imports, and for
"subgraph" what came back.  The ways: "sql" and "mlmd" are visionline's readers;
"subgraph" is MLMD's own get_lineage_subgraph, upstream of what was pushed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from lineage.graph.refs import find_model
from lineage.questions.affected import affected_by_span
from lineage.questions.diff import diff
from lineage.questions.history import history
from lineage.questions.model import model_lineage
from lineage.questions.run_detail import run_detail
from lineage.questions.runs import list_runs
from lineage.store.connection import Connection
from tests.support.reference_reader import open_reader

HOPS = 100
"""The most that MLMD allows."""


def ask(path: Path, way: str, question: str, *words: str) -> dict[str, Any]:
    if way == "subgraph":
        return _subgraph(path, words[0])
    questions = {
        "model": lambda: model_lineage(reader, words[0]),
        "runs": lambda: list_runs(reader, limit=20),
        "run": lambda: run_detail(reader, words[0]),
        "affected": lambda: affected_by_span(reader, int(words[-1]), limit=1000),
        "diff": lambda: diff(reader, *words),
        "history": lambda: history(reader, words[0], limit=100),
    }
    reader = open_reader(Connection.parse(str(path)), "mlmd" if way == "mlmd" else "sql")
    began = time.perf_counter()
    questions[question]()
    return {"seconds": time.perf_counter() - began}


def _subgraph(path: Path, ref: str) -> dict[str, Any]:
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    reader = open_reader(Connection.parse(str(path)))
    model = find_model(reader, ref).id
    reader.close()
    store = metadata_store.MetadataStore(Connection.parse(str(path)).mlmd_config(readonly=True))
    options = mlmd.LineageSubgraphQueryOptions(
        max_num_hops=HOPS, direction=mlmd.LineageSubgraphQueryOptions.UPSTREAM
    )
    options.starting_artifacts.filter_query = f"id = {model}"
    began = time.perf_counter()
    found = store.get_lineage_subgraph(options, ["artifacts", "executions", "events"])
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "executions": len(found.executions), "events": len(found.events)}


if __name__ == "__main__":
    print(json.dumps(ask(Path(sys.argv[1]), *sys.argv[2:])))
