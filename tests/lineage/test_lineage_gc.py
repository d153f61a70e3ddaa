"""gc on real stores and files: what it removes, faults on the way, and who may run it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from helpers import largest_file, python
from lineage_store import COMPONENTS, Builder, BuiltRun
from reference_reader import open_reader

from common.errors import RunError, StoreError
from lineage.storage import removal
from lineage.storage.gc import TRASH, GcPlan, plan
from lineage.storage.marking import pin
from lineage.storage.removal import GcResult, collect
from lineage.storage.verify import verify
from lineage.store.records import Artifact
from lineage.store.workspace import Workspace

pytestmark = pytest.mark.quick

DATA = [n for n in COMPONENTS if n not in ("Trainer", "Evaluator", "Pusher")]
TRAINING = {"ModelRun", "Model", "ModelEvaluation", "ModelBlessing", "PushedModel"}


class Folder:
    """An output folder with five runs; the second trained what nothing needs any more."""

    def __init__(self, path: Path) -> None:
        self.workspace = Workspace(path)
        self.workspace.claim("digits")
        self.builder = builder = Builder(self.workspace.metadata, files=True)
        self.runs = [builder.run("run-1", version=1)]
        again: dict[str, Any] = {"version": None, "reused": dict.fromkeys(DATA, self.runs[0])}
        self.runs += [builder.run(f"run-{n}", **again) for n in range(2, 6)]
        self.second = {self.runs[1].artifacts[f"{n}.{k}"] for n, k in _made_by(self.runs[1])}

    def artifacts(self) -> dict[int, Artifact]:
        reader = open_reader(self.workspace.connection)
        found = {a.id: a for a in reader.all_artifacts()}
        reader.close()
        return found

    def deleted(self) -> set[int]:
        return {i for i, a in self.artifacts().items() if a.state == "DELETED"}

    def without_files(self) -> set[int]:
        return {i for i, a in self.artifacts().items() if not Path(a.uri, "data.txt").exists()}

    def plan(self, keep_runs: int = 3) -> GcPlan:
        reader = open_reader(self.workspace.connection)
        found = plan(reader, self.workspace.artifacts, keep_runs)
        reader.close()
        return found

    def collect(self, keep_runs: int = 3) -> GcResult:
        return collect(
            self.workspace, self.workspace.connection, keep_runs, lambda done, total: None
        )

    def is_done(self) -> bool:
        """The second run's files are gone, marked so, and nothing else is touched."""
        trash = self.workspace.artifacts / TRASH
        return self.deleted() == self.without_files() == self.second and not trash.exists()


def _made_by(run: BuiltRun) -> list[tuple[str, str]]:
    return [(n, k) for n in ("Trainer", "Evaluator", "Pusher") for k in COMPONENTS[n][2]]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def test_it_removes_what_nothing_needs_and_says_how_much(folder: Folder) -> None:
    planned = folder.plan()
    assert {i.artifact_id for i in planned.remove} == folder.second
    assert {(i.type, i.run_id, i.why) for i in planned.remove} == {
        (t, "run-2", "unused") for t in TRAINING
    }
    assert planned.kept == {"pushed": 11, "reused": 16}
    free = sum(p.lstat().st_blocks * 512 for p in folder.workspace.artifacts.rglob("*"))
    done = folder.collect()
    free -= sum(p.lstat().st_blocks * 512 for p in folder.workspace.artifacts.rglob("*"))
    assert folder.is_done()
    assert (done.removed, done.freed, done.failures) == (5, free, ())
    assert done.freed == planned.bytes > 0
    again = folder.collect()
    assert (again.plan.remove, again.removed, again.freed) == ((), 0, 0)


def test_both_readers_plan_the_same(folder: Folder) -> None:
    root, connection = folder.workspace.artifacts, folder.workspace.connection
    pin(connection, folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]])
    plans = [plan(open_reader(connection, via), root, 1) for via in ("sql", "mlmd")]  # type: ignore[arg-type]
    assert plans[0] == plans[1] and plans[0].remove


def test_fewer_runs_kept_remove_more_and_never_what_was_pushed(folder: Folder) -> None:
    found = {i.artifact_id for i in folder.plan(keep_runs=1).remove}
    assert len(found) == 3 * len(folder.second)
    assert not found & set(folder.runs[0].artifacts.values())


def test_failed_runs_do_not_push_complete_ones_out(folder: Folder) -> None:
    for number in range(5):
        folder.builder.run(f"failed-{number}", fails="ImageExampleGen")
    assert {i.artifact_id for i in folder.plan().remove} == folder.second


@pytest.mark.parametrize(
    ("state", "kept"),
    [("running", {"old", "stopped"}), ("complete", {"stopped"}), ("cancelled", {"stopped"})],
)
def test_runs_that_have_not_ended_are_kept_and_stopped_ones_do_not_count(
    tmp_path: Path, state: str, kept: set[str]
) -> None:
    """A run may be between two components, and none of its executions running."""
    workspace = Workspace(tmp_path / "out")
    workspace.claim("digits")
    builder = Builder(workspace.metadata, files=True)
    states = {"old": state, "older": "complete", "last": "complete", "stopped": "cancelled"}
    models = {
        name: builder.run(name, version=None, run_properties={"state": state}).artifacts[
            "Trainer.model"
        ]
        for name, state in states.items()
    }
    builder.run("now", version=None, run_properties={"state": "complete"})
    removed = {
        i.artifact_id
        for i in plan(open_reader(workspace.connection), workspace.artifacts, 2).remove
    }
    assert {n for n, m in models.items() if m not in removed} == kept | {"last"}


def test_each_pipeline_has_latest_runs_of_its_own(folder: Folder) -> None:
    for number in range(4):
        folder.builder.run(f"other-{number}", pipeline="other", version=None)
    assert {i.run_id for i in folder.plan().remove} == {"run-2", "other-0"}


def test_the_newest_blessed_model_of_each_name_is_kept(tmp_path: Path) -> None:
    """Two names in one pipeline; blessed, and the push failed each time."""
    workspace = Workspace(tmp_path / "out")
    workspace.claim("digits")
    builder = Builder(workspace.metadata, files=True)
    blessed = {"Evaluator.blessing": {"blessed": 1}}
    models = {}
    for number, name in enumerate(["a", "b", "a", "c", "c", "c"]):
        run = builder.run(
            f"run-{number}",
            version=None,
            artifact_properties=blessed if number < 3 else {},
            run_properties={"config": json.dumps({"name": name})},
        )
        models[number] = run.artifacts["Trainer.model"]
    found = plan(open_reader(workspace.connection), workspace.artifacts, 3)
    removed = {i.artifact_id for i in found.remove}
    assert [n for n, m in models.items() if m in removed] == [0]
    assert found.kept["blessed"] > 2


def test_a_pinned_model_is_kept_with_what_it_was_made_from(folder: Folder) -> None:
    model = folder.runs[1].artifacts["Trainer.model"]
    pin(folder.workspace.connection, folder.artifacts()[model])
    removed = folder.second - {model, folder.runs[1].artifacts["Trainer.model_run"]}
    assert {i.artifact_id for i in folder.plan().remove} == removed


def test_a_model_pinned_while_it_is_planned_is_not_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]]

    def plan_and_pin(*args: Any) -> GcPlan:
        pin(folder.workspace.connection, model)
        return planned

    planned = folder.plan()
    monkeypatch.setattr(removal, "plan", plan_and_pin)
    with pytest.raises(RunError, match=r"just come to be needed \(pinned\)"):
        folder.collect()
    assert folder.deleted() == folder.without_files() == set()


def test_a_removed_model_cannot_be_pinned(folder: Folder) -> None:
    folder.collect()
    model = folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]]
    with pytest.raises(RunError, match="nothing left to pin"):
        pin(folder.workspace.connection, model)
    assert folder.collect().plan.remove == ()


KILLS = {
    "marked": "import os; os.rename = kill",
    "moved": "import shutil; shutil.rmtree = kill",
    "half marked": """
from lineage.storage import removal
removal._BATCH = 2
from ml_metadata.metadata_store.metadata_store import MetadataStore
put, count = MetadataStore.put_artifacts, iter(range(9))
MetadataStore.put_artifacts = lambda s, a: put(s, a) if next(count) < 1 else kill()
""",
}


@pytest.mark.parametrize("when", KILLS)
def test_a_gc_that_was_killed_is_finished_by_the_next(folder: Folder, when: str) -> None:
    kill = "def kill(*a, **k):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    start = "import sys; from pipeline.cli.main import main; sys.argv[0] = 'visionline'; main()"
    arguments = ("lineage", "gc", "--yes", "--output", str(folder.workspace.root))
    done = python("-c", f"{kill}{KILLS[when]}\n{start}", *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr
    marked = folder.deleted()
    assert marked <= folder.second
    assert len(marked) == (2 if when == "half marked" else 5)
    assert folder.without_files() <= marked, "nothing that is LIVE has lost its files"
    assert len(folder.without_files()) == (1 if when == "moved" else 0)
    planned = folder.plan()
    assert planned.trash == (0 if when == "half marked" else 1)
    done_ = folder.collect()
    assert folder.is_done() and not done_.failures
    assert done_.freed == planned.bytes > 0


def test_checkpoints_of_the_latest_trainings_that_did_not_end_stay(folder: Folder) -> None:
    checkpoints = folder.workspace.checkpoints
    for number in range(5):
        file = checkpoints / str(number) / "step-000001" / "state.npz"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(10_000))
        os.utime(checkpoints / str(number), (number, number))
    before = folder.plan(keep_runs=3)
    assert before.trash == 2
    assert folder.collect(keep_runs=3).freed == before.bytes >= 20_000
    assert sorted(path.name for path in checkpoints.iterdir()) == ["2", "3", "4"]
    assert folder.plan(keep_runs=3).trash == 0


def _failing(real: Callable[..., Any], code: int, times: int) -> Callable[..., Any]:
    left = [times]

    def fail(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(args[0]))
        return real(*args, **kwargs)

    return fail


def test_what_cannot_be_deleted_is_reported_and_done_the_next_time(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", _failing(os.rename, errno.EACCES, 1))
        patch.setattr(os, "unlink", _failing(os.unlink, errno.EIO, 1))
        done = folder.collect()
    assert [f.reason for f in done.failures] == ["Permission denied", "Input/output error"]
    assert done.removed == 3 and 0 < done.freed < done.plan.bytes
    assert folder.deleted() == folder.second
    assert not folder.collect().failures
    assert folder.is_done()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EXDEV])
def test_without_room_to_move_it_is_deleted_where_it_is(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "rename", _failing(os.rename, code, 99))
    assert not folder.collect().failures
    assert folder.is_done()


def test_a_store_that_cannot_be_written_loses_nothing(folder: Folder) -> None:
    with largest_file(100), pytest.raises(StoreError, match="Cannot write to the metadata store"):
        folder.collect()
    assert folder.deleted() == folder.without_files() == set()


def test_a_run_under_way_keeps_gc_out(folder: Folder) -> None:
    with folder.workspace.lock(), pytest.raises(RunError, match="Another run is using"):
        folder.collect()
    assert folder.without_files() == set()


def test_links_are_neither_followed_nor_removed(folder: Folder, tmp_path: Path) -> None:
    model = Path(folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]].uri)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(model, elsewhere)
    model.symlink_to(elsewhere)
    (model.parent.parent / "model_run" / "2" / "out").symlink_to(elsewhere)
    done = folder.collect()
    assert done.plan.kept["elsewhere"] == 1 and done.removed == 4
    assert (elsewhere / "data.txt").exists() and model.is_symlink()


def test_a_file_with_another_name_elsewhere_frees_nothing(folder: Folder, tmp_path: Path) -> None:
    before = folder.plan().bytes
    model = Path(folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]].uri)
    (model / "weights").write_bytes(b"x" * 100_000)
    (model / "same").hardlink_to(model / "weights")
    assert folder.plan().bytes == before + 102_400
    (tmp_path / "kept").hardlink_to(model / "weights")
    assert folder.plan().bytes == before


def test_a_trash_that_is_a_link_is_refused(folder: Folder, tmp_path: Path) -> None:
    (folder.workspace.artifacts / TRASH).symlink_to(tmp_path)
    with pytest.raises(RunError, match="is a link; expected a folder"):
        folder.collect()
    assert folder.deleted() == set()


def test_after_gc_all_is_as_recorded_and_before_it_ends_it_is_not(folder: Folder) -> None:
    def problems() -> list[str]:
        reader = open_reader(folder.workspace.connection)
        found = verify(reader).problems
        reader.close()
        return sorted(p.kind for p in found)

    lost = Path(folder.artifacts()[folder.runs[1].artifacts["Trainer.model"]].uri)
    shutil.rmtree(lost)
    assert problems() == ["missing"]
    assert sorted(i.why for i in folder.plan().remove) == ["gone", *["unused"] * 4]
    folder.collect()
    assert problems() == []


def test_command_line(folder: Folder, cli: Cli, tmp_path: Path) -> None:
    out = ("--output", folder.workspace.root)
    neither = cli("lineage", "gc", *out)
    assert neither.returncode == 2 and "say --dry-run" in neither.stderr
    assert cli("lineage", "gc", "--yes", "--dry-run", *out).returncode == 2
    dry = cli("lineage", "gc", "--dry-run", *out)
    header, *rows, kept, last = dry.stdout.splitlines()
    assert header.split("\t") == ["artifact", "type", "last used by", "size", "why", "files"]
    assert {int(row.split("\t")[0]) for row in rows} == folder.second
    assert kept == "Kept: 11 pushed, 16 reused."
    assert last == "gc --yes removes 5 artifacts and frees 41.0 kB."
    answer = json.loads(cli("lineage", "gc", "--dry-run", "--json", *out).stdout)
    assert answer["format"] == "visionline.lineage.gc-plan/1"
    assert {i["artifact_id"] for i in answer["remove"]} == folder.second
    assert folder.without_files() == set()
    copy = tmp_path / "copy.sqlite"
    shutil.copy(folder.workspace.metadata, copy)
    other = cli("lineage", "gc", "--yes", "--metadata", copy, *out)
    assert other.returncode == 2 and "another store" in other.stderr
    stranger = cli("lineage", "gc", "--yes", "--metadata", copy)
    assert stranger.returncode == 1 and "not a visionline output folder" in stranger.stderr
    done = cli("lineage", "gc", "--yes", *out)
    assert (done.returncode, done.stdout) == (0, "Removed 5 artifacts, freed 41.0 kB.\n")
    assert folder.is_done()
