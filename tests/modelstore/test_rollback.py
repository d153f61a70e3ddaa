"""An older version is served again: as a push, whole or not at all, and recorded."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from helpers import largest_file
from lineage_store import Builder
from numbered_pushes import push
from pushes import visible

from common.errors import DataError
from common.files import checksums
from common.record.kinds import ROLLBACK
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from modelstore.artifact import PushManifest, model_digest
from modelstore.rollback import roll_back
from modelstore.versions import damage, list_versions, publish, withdrawn_by

pytestmark = pytest.mark.quick


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for _ in range(3):
        push(tmp_path)
    return tmp_path / "serving" / "m"


def content(version: Path) -> dict[str, str]:
    return {k: v for k, v in checksums(version).items() if k != "manifest.json"}


def test_the_version_before_becomes_the_next(folder: Path) -> None:
    done = roll_back(folder)
    assert (done.manifest.version, done.copied, done.replaced) == (4, 2, 3)
    assert content(folder / "4") == content(folder / "2") and damage(folder / "4") == []
    read = PushManifest.read(folder / "4")
    assert read == done.manifest
    assert (read.rolled_back_to, read.withdrawn) == (2, ("/models/3",))
    assert (read.model_uri, read.version) == ("/models/2", 4)
    assert PushManifest.read(folder / "2").rolled_back_to is None


def test_again_and_again_goes_further_back_and_never_to_what_was_left(folder: Path) -> None:
    assert [roll_back(folder).copied for _ in range(2)] == [2, 1]
    with pytest.raises(DataError, match="no older version to roll back to"):
        roll_back(folder)
    assert roll_back(folder, 3).manifest.version == 6
    assert list_versions(folder) == [1, 2, 3, 4, 5, 6]


def test_damaged_versions_are_passed_over_and_refused(folder: Path) -> None:
    (folder / "2" / "part-0").write_bytes(b"x")
    with pytest.raises(DataError, match=r"version 2 is damaged \(part-0: changed\)"):
        roll_back(folder, 2)
    assert roll_back(folder).copied == 1


@pytest.mark.parametrize("lost", ["part-0", "manifest.json"])
def test_from_a_latest_that_is_damaged(folder: Path, lost: str) -> None:
    (folder / "3" / lost).unlink()
    assert roll_back(folder).copied == 2


@pytest.mark.parametrize(
    ("to", "told"),
    [(3, "version 3 is the latest already"), (9, r"no version 9\. There are: 1, 2, 3\.")],
)
def test_refused(folder: Path, to: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        roll_back(folder, to)
    assert list_versions(folder) == [1, 2, 3]


def test_what_is_served_already_is_not_copied_again(folder: Path) -> None:
    roll_back(folder, 1)
    with pytest.raises(DataError, match="version 4, the latest, holds the same files as version 1"):
        roll_back(folder, 1)
    (folder / "4" / "part-0").unlink()
    assert roll_back(folder, 1).manifest.version == 5


def test_a_model_stays_withdrawn_until_it_is_served_again(folder: Path, tmp_path: Path) -> None:
    def withdrawn(number: int) -> int | None:
        digest = model_digest(tmp_path / "sources" / str(number))
        return withdrawn_by(folder, f"/models/{number}", digest)

    assert withdrawn(3) is None
    roll_back(folder, 1)
    assert [withdrawn(i) for i in (1, 2, 3)] == [None, 4, 4]
    push(tmp_path)
    assert withdrawn(3) == 4, "a newer model does not bring it back"
    roll_back(folder, 3)
    assert withdrawn(3) is None
    assert withdrawn(5) == 6
    shutil.rmtree(folder / "3")
    assert withdrawn(2) == 4


def test_a_push_in_between_stops_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish_late(*args: Any) -> PushManifest:
        push(tmp_path)
        return publish(*args)

    monkeypatch.setattr("modelstore.rollback.publish", publish_late)
    with pytest.raises(DataError, match="version 4 was pushed meanwhile"):
        roll_back(folder)
    assert list_versions(folder) == [1, 2, 3, 4]
    assert visible(folder) == ["1", "2", "3", "4"] and not list(folder.glob(".partial-*"))


def test_one_that_cannot_be_written_leaves_nothing(folder: Path) -> None:
    (folder / "2" / "part-0").write_bytes(bytes(5000))
    manifest = PushManifest.read(folder / "2")
    dataclasses.replace(manifest, checksums=content(folder / "2")).write(folder / "2")
    with largest_file(2000), pytest.raises(OSError, match="File too large"):
        roll_back(folder)
    assert visible(folder) == ["1", "2", "3"] and not list(folder.glob(".partial-*"))
    assert roll_back(folder).copied == 2


@pytest.fixture
def recorded(tmp_path: Path) -> Builder:
    """Two models of a store, pushed to serving/m."""
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    for number in (1, 2):
        ids = builder.run(f"run-{number}", version=number).artifacts
        (artifact,) = builder.store.get_artifacts_by_id([ids["Trainer.model"]])
        push(tmp_path, uri=artifact.uri, model=artifact.id)
    return builder


def test_it_is_recorded_as_a_push_of_the_older_model(
    recorded: Builder, tmp_path: Path, cli: Cli
) -> None:
    store = tmp_path / "metadata.sqlite"
    before = {a.id for a in recorded.store.get_artifacts_by_type("PushedModel")}
    serving = tmp_path / "serving"
    done = cli(
        *("rollback", "m", "--serving", serving, "--metadata", store),
        *("--reason", "sees cats"),
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "m version 3 is version 1 again; the latest was 2."
    assert second.startswith("Recorded as execution ") and done.stderr == ""
    (execution,) = recorded.store.get_executions_by_type(ROLLBACK)
    said = {k: v.string_value or v.int_value for k, v in execution.custom_properties.items()}
    assert said.pop("user") and said.pop("when")
    assert said == {
        **{"model_name": "m", "pushed_version": 3, "rolled_back_to": 1, "rolled_back_from": 2},
        "reason": "sees cats",
    }
    (pushed,) = [
        a for a in recorded.store.get_artifacts_by_type("PushedModel") if a.id not in before
    ]
    model_id = PushManifest.read(serving / "m" / "1").mlmd["model"]
    said = {k: v.string_value or v.int_value for k, v in pushed.custom_properties.items()}
    assert said == {
        **{"pushed": 1, "model_name": "m", "model_id": model_id, "pushed_version": 3},
        "pushed_destination": str(serving / "m" / "3"),
    }
    events = recorded.store.get_events_by_execution_ids([execution.id])
    assert {(e.artifact_id, e.path.steps[0].key) for e in events} == {
        (model_id, "model"),
        (pushed.id, "pushed_model"),
    }
    (context,) = recorded.store.get_contexts_by_execution(execution.id)
    assert context.name == "digits"
    reader = open_reader(Connection(kind="sqlite", path=store))
    from lineage.graph.refs import find_model

    assert find_model(reader, "m@3").id == model_id
    assert find_model(reader, str(serving / "m" / "3")).id == model_id


def test_without_a_store_it_is_done_and_said_to_be_unrecorded(
    recorded: Builder, tmp_path: Path, cli: Cli
) -> None:
    missing = cli(
        *("rollback", "m", "--serving", tmp_path / "serving"),
        *("--metadata", tmp_path / "none.sqlite"),
    )
    assert missing.returncode == 0
    assert "Rolled back, but not recorded in a metadata store" in missing.stderr
    assert "Traceback" not in missing.stderr and not (tmp_path / "none.sqlite").exists()
    assert list_versions(tmp_path / "serving" / "m") == [1, 2, 3]
    nothing = cli("rollback", "m", "--to", "3", "--serving", tmp_path / "serving")
    assert nothing.returncode == 1 and "is the latest already" in nothing.stderr
    unknown = cli("rollback", "M", "--serving", tmp_path / "serving")
    assert unknown.returncode == 1 and "Did you mean 'm'" in unknown.stderr


def test_labels_and_pruning_on_the_command_line(folder: Path, cli: Cli) -> None:
    serving = ("--serving", folder.parent)
    assert cli("label", "m", *serving).stdout == "m has no labels.\n"
    done = cli("label", "m", "stable=1", "canary=3", "--weights", "stable=90,canary=10", *serving)
    assert done.stdout.splitlines() == ["label\tversion\tweight", "canary\t3\t10", "stable\t1\t90"]
    assert cli("label", "m", *serving).stdout == done.stdout
    for wrong in ("stable", "stable=x", "=3", "new=9"):
        refused = cli("label", "m", wrong, *serving)
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
    pruned = cli("versions", "m", "--prune", "1", *serving)
    assert pruned.returncode == 0
    assert pruned.stderr.splitlines() == [
        "Removed m version 2.",
        "Kept m version 1: labelled stable.",
    ]
    assert list_versions(folder) == [1, 3]
    back = cli("rollback", "m", "--to", "1", *serving)
    assert "Requests still go where the labels send them (canary=3, stable=1)" in back.stderr
    done = cli("label", "m", "--remove", "canary", "--weights", "", *serving)
    assert done.stdout.splitlines()[1:] == ["stable\t1\t"]
