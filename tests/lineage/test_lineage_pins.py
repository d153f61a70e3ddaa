"""Pins: written to the store, and no part of anything that TFX's cache looks at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli
from lineage_store import Builder
from reference_reader import open_reader

from common.errors import NotFoundError
from common.record.kinds import PIN
from lineage.graph.marks import pins
from lineage.storage.marking import pin, unpin
from lineage.store.connection import Connection

pytestmark = pytest.mark.quick


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    builder.run("run-1", version=1)
    return builder


def test_pinned_unpinned_and_pinned_again(builder: Builder, tmp_path: Path) -> None:
    connection = Connection(kind="sqlite", path=tmp_path / "metadata.sqlite")
    (before,) = builder.store.get_artifacts_by_type("Model")
    reader = open_reader(connection)
    (model,) = reader.artifacts_by_type("Model")
    assert pins(reader).pins == ()
    pin(connection, model, "for the audit")
    (found,) = pins(reader).pins
    assert (found.model_id, found.uri, found.reason) == (model.id, model.uri, "for the audit")
    assert found.who and found.when
    assert pins(open_reader(connection, "mlmd")) == pins(reader)
    unpin(connection, model)
    assert pins(reader).pins == ()
    with pytest.raises(NotFoundError, match="is not pinned"):
        unpin(connection, model)
    pin(connection, model)
    assert [p.reason for p in pins(reader).pins] == [None]
    (context,) = builder.store.get_contexts_by_type(PIN)
    assert [a.id for a in builder.store.get_artifacts_by_context(context.id)] == [model.id]
    (after,) = builder.store.get_artifacts_by_type("Model")
    assert after == before, "it would be another key of TFX's cache"


def test_command_line(builder: Builder, tmp_path: Path, cli: Cli) -> None:
    store = ("--metadata", tmp_path / "metadata.sqlite")
    assert cli("lineage", "pins", *store).returncode == 4
    assert cli("lineage", "pin", "nothing", *store).returncode == 4
    done = cli("lineage", "pin", "digits-keras@1", "--reason", "[b]audit", *store)
    assert done.returncode == 0 and done.stdout.startswith("Pinned model ")
    header, row = cli("lineage", "pins", *store).stdout.splitlines()
    assert header.split("\t") == ["model", "who", "when", "reason", "files"]
    assert row.split("\t")[3] == "[b]audit"
    answer = json.loads(cli("lineage", "pins", "--json", *store).stdout)
    assert answer["format"] == "visionline.lineage.pins/1" and len(answer["pins"]) == 1
    assert cli("lineage", "unpin", "digits-keras", *store).returncode == 0
    assert cli("lineage", "unpin", "digits-keras", *store).returncode == 4
    missing = cli("lineage", "pin", "1", "--metadata", tmp_path / "none.sqlite")
    assert missing.returncode == 5 and not (tmp_path / "none.sqlite").exists()
