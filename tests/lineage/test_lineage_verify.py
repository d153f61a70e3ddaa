"""verify: every way in which files can differ from what was recorded."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Demo
from lineage_store import Builder, BuiltRun
from ml_metadata.proto import metadata_store_pb2 as mlmd

from common.errors import NotFoundError
from common.files import tree_digest
from lineage.storage.verify import Verification, verify
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.records import Artifact
from modelstore.artifact import PushManifest
from modelstore.versions import publish

pytestmark = pytest.mark.quick


class Made:
    """Two pushed models in a store, their digests recorded and their files served."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.builder = Builder(root / "metadata.sqlite", files=True)
        self.first = self.builder.run("run-1", name="cats", version=1)
        self.second = self.builder.run("run-2", name="dogs", version=1)
        for run in (self.first, self.second):
            self._record_digests(run)
        for name, run in (("cats", self.first), ("dogs", self.second)):
            self.push(name, self.artifact(run, "Trainer.model"))

    def _record_digests(self, run: BuiltRun) -> None:
        store = self.builder.store
        for execution in store.get_executions_by_id(list(run.executions.values())):
            events = store.get_events_by_execution_ids([execution.id])
            made = [e.artifact_id for e in events if e.type == mlmd.Event.OUTPUT]
            uris = [a.uri for a in store.get_artifacts_by_id(made)]
            digests = json.dumps({u: tree_digest(Path(u)) for u in uris})
            execution.custom_properties["output_digests"].string_value = digests
            store.put_executions([execution])

    def push(self, name: str, model: Artifact) -> Path:
        def manifest(version: int) -> PushManifest:
            return PushManifest(
                **{"name": name, "version": version, "pushed_at": "", "framework": "keras"},
                **{"architecture": "small_cnn", "model_uri": model.uri, "run_id": "run-1"},
                mlmd={},
            )

        folder = self.root / "serving" / name
        return folder / str(publish(Path(model.uri), folder, manifest).version)

    def artifact(self, run: BuiltRun, place: str) -> Artifact:
        reader = open_reader(self.connection)
        found = reader.artifacts([run.artifacts[place]])[run.artifacts[place]]
        reader.close()
        return found

    @property
    def connection(self) -> Connection:
        return Connection(kind="sqlite", path=self.root / "metadata.sqlite")

    def verify(self, *names: str, quick: bool = False) -> Verification:
        reader = open_reader(self.connection)
        found = verify(reader, names, quick=quick)
        reader.close()
        return found

    def problems(self, *names: str, quick: bool = False) -> list[tuple[str, str]]:
        return [(p.kind, p.where) for p in self.verify(*names, quick=quick).problems]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_all_is_good(made: Made) -> None:
    found = made.verify()
    assert found.problems == ()
    assert (found.checked.artifacts, found.checked.digests) == (24, 24)
    assert (found.checked.versions, found.checked.elsewhere) == (2, 0)
    assert made.verify(quick=True).checked.digests == 0


def _fifo(path: Path) -> None:
    os.mkfifo(path / "pipe")


def _into_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def _loop(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path)


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    # how: what is done, the problem, with --quick, words of the detail
    "removed": (shutil.rmtree, "missing", "missing", "not there"),
    "parent removed": (lambda p: shutil.rmtree(p.parent), "missing", "missing", "not there"),
    "file in place of parent": (lambda p: _into_file(p.parent), "missing", "missing", "a file is"),
    "changed": (lambda p: (p / "data.txt").write_text("x"), "changed", "", "not those"),
    "emptied": (lambda p: (p / "data.txt").unlink(), "changed", "", "not those"),
    "added": (lambda p: (p / "more").write_text(""), "changed", "", "not those"),
    "a file": (_into_file, "changed", "", "is a file; a folder was made"),
    "broken link": (lambda p: (p / "l").symlink_to("none"), "changed", "", "leads nowhere"),
    "pipe": (_fifo, "changed", "", "pipe is neither a file nor a folder"),
    "loop": (_loop, "unreadable", "unreadable", "symbolic links"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_artifacts(made: Made, how: str) -> None:
    damage, kind, quick, words = DAMAGE[how]
    schema = made.artifact(made.second, "SchemaGen.schema")
    damage(Path(schema.uri))
    found = [p for p in made.verify().problems if p.artifact_id == schema.id]
    assert [(p.kind, p.where) for p in found] == [(kind, schema.uri)]
    assert words in found[0].detail
    quickly = [p.kind for p in made.verify(quick=True).problems if p.artifact_id == schema.id]
    assert quickly == ([quick] if quick else [])


def test_files_of_deleted_artifacts(made: Made) -> None:
    (model,) = made.builder.store.get_artifacts_by_id([made.second.artifacts["Trainer.model"]])
    model.state = mlmd.Artifact.DELETED
    made.builder.store.put_artifacts([model])
    assert made.problems() == [("not-removed", model.uri)]
    shutil.rmtree(model.uri)
    assert made.problems() == []


def test_a_store_without_digests_and_places_elsewhere(made: Made) -> None:
    old = made.builder.run("run-3", name="old", version=1)
    store = made.builder.store
    (model,) = store.get_artifacts_by_id([old.artifacts["Trainer.model"]])
    model.uri = "gs://bucket/model/1"
    store.put_artifacts([model])
    found = made.verify()
    assert found.problems == ()
    assert (found.checked.artifacts, found.checked.digests) == (35, 24)
    assert found.checked.elsewhere == 1


def test_served_versions(made: Made) -> None:
    cats, dogs = made.root / "serving" / "cats", made.root / "serving" / "dogs"
    second = made.push("cats", made.artifact(made.second, "Trainer.model"))
    assert made.problems() == [("unrecorded", str(second))]
    shutil.rmtree(second)
    (cats / "1" / "data.txt").write_text("changed")
    assert made.problems() == [("damaged", str(cats / "1"))]
    (cats / "1" / "data.txt").unlink()
    assert made.problems(quick=True) == [("damaged", str(cats / "1"))]
    (cats / "1" / "manifest.json").write_text("{")
    assert made.problems("cats") == [("damaged", str(cats / "1"))]
    assert made.problems("dogs") == []
    shutil.rmtree(cats)
    assert made.problems() == [], "a version may be taken out of serving"
    shutil.copytree(dogs, cats)
    assert made.problems() == [("mismatched", str(cats / "1"))]


def test_what_a_killed_push_left_and_one_under_way(made: Made) -> None:
    folder = made.root / "serving" / "cats"
    (folder / ".partial-2").mkdir()
    assert made.problems() == [("leftover", str(folder / ".partial-2"))]
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert made.problems() == []


def test_names_choose_a_model_and_what_it_was_made_from(made: Made) -> None:
    shutil.rmtree(made.artifact(made.first, "Transform.transform_graph").uri)
    assert [k for k, _ in made.problems("cats")] == ["missing"]
    found = made.verify("dogs")
    assert found.problems == () and found.checked.versions == 1
    with pytest.raises(NotFoundError, match="Did you mean 'cats'"):
        made.verify("cat")


def test_pushes_of_tfx_itself_have_no_manifest(made: Made) -> None:
    folder = made.root / "serving" / "tfx" / "1700000000"
    folder.mkdir(parents=True)
    made.builder.artifact(
        "PushedModel", str(made.root / "pushed"), {"pushed": 1, "pushed_destination": str(folder)}
    )
    assert made.problems() == []


def test_command_line(made: Made, cli: Cli) -> None:
    store = ("--metadata", made.root / "metadata.sqlite")
    good = cli("lineage", "verify", *store)
    assert good.returncode == 0
    assert good.stdout == (
        "Checked 24 artifacts (24 by digest, 0 for existence only); 2 served versions: all good.\n"
    )
    model = made.artifact(made.first, "Trainer.model")
    (Path(model.uri) / "data.txt").write_text("changed")
    bad = cli("lineage", "verify", *store)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[1].split("\t")[:3] == ["changed", str(model.id), model.uri]
    assert bad.stdout.endswith("2 served versions: 1 problems.\n")
    answer = cli("lineage", "verify", "--json", *store)
    assert answer.returncode == 1
    assert [p["kind"] for p in json.loads(answer.stdout)["problems"]] == ["changed"]
    assert cli("lineage", "verify", "birds", *store).returncode == 4
    assert cli("lineage", "verify", "--metadata", made.root / "none.sqlite").returncode == 5


def test_a_real_run_is_as_it_was_recorded(demo: Demo, cli: Cli) -> None:
    found = json.loads(cli("lineage", "verify", "--output", demo.workspace, "--json").stdout)
    assert found["problems"] == []
    checked = found["checked"]
    assert checked["artifacts"] == checked["digests"] >= 18 and checked["versions"] == 2
