"""Output folders that were moved or copied: what was made in them is found where they are.

A real pipeline of two small components, by TFX's runner under our launcher; and the demo.
"""

# No annotations from __future__: TFX reads those of components.
import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Store
from helpers import may_mount
from reference_reader import open_reader
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.types.standard_artifacts import Examples, Model

from common.errors import RunError
from common.files import read_json, write_json
from common.record.run import COMPLETE, Run
from lineage.storage.gc import plan
from lineage.storage.verify import verify
from lineage.store.connection import Connection
from lineage.store.mlmd import mended
from lineage.store.places import Places, root_of
from lineage.store.workspace import Workspace
from pipeline.recording.cache_key import place_free
from pipeline.recording.recorder import Recorder, recording

RUNS = iter(range(1, 1000))
CACHED, DONE = ["CACHED"] * 2, ["COMPLETE"] * 2


@component
def Maker(
    examples: OutputArtifact[Examples], seed: Parameter[int], work_dir: Parameter[str]
) -> None:
    Path(examples.uri, "data.txt").write_text(f"{seed}")


@component
def Taker(examples: InputArtifact[Examples], model: OutputArtifact[Model]) -> None:
    Path(model.uri, "data.txt").write_text(Path(examples.uri, "data.txt").read_text())


def run(root: Path, seed: int = 1, store: Connection | None = None) -> list[str]:
    """Runs in an output folder, as `pipeline.run.orchestrate` does; the states of both nodes."""
    workspace, run_id = Workspace(root), f"run-{next(RUNS):03d}"
    workspace.claim("tiny", store)
    connection = workspace.connection
    with workspace.lock(), mended(workspace.places):
        workspace.run_dir(run_id).mkdir(parents=True)
        maker = Maker(seed=seed, work_dir=str(workspace.cache / "work"))
        pipeline = Pipeline(
            pipeline_name="tiny",
            pipeline_root=str(workspace.artifacts),
            components=[maker, Taker(examples=maker.outputs["examples"])],
            metadata_connection_config=connection.mlmd_config(),
            enable_cache=True,
        )
        ir = compiler.Compiler().compile(pipeline)
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        recorder = Recorder(pipeline.metadata_connection_config, "tiny", run_id)
        places = workspace.places
        with place_free(places), recording(recorder, lambda node: None, places):
            LocalDagRunner().run_with_ir(ir)
        recorder.annotate_run(Run(state=COMPLETE, pipeline="tiny"))
    with closing(open_reader(connection)) as reader:
        context = reader.context("pipeline_run", run_id)
        assert context is not None
        ids = reader.executions_in([context.id])[context.id]
        return [e.state for _, e in sorted(reader.executions(ids).items())]


def places_of(root: Path, via: Any = "sql") -> list[str]:
    with closing(open_reader(Workspace(root).connection, via)) as reader:
        return [a.uri for a in reader.all_artifacts()]


def check(root: Path, artifacts: int) -> None:
    """All is there, at the place asked about, by both readers."""
    for via in ("sql", "mlmd"):
        uris = places_of(root, via)
        assert len(uris) == artifacts
        assert all(u.startswith(f"{root}/artifacts/") and os.path.isdir(u) for u in uris)
    with closing(open_reader(Workspace(root).connection)) as reader:
        found = verify(reader)
        assert (found.problems, found.checked.digests) == ((), artifacts)


def move(old: Path, new: Path) -> Path:
    new.parent.mkdir(parents=True, exist_ok=True)
    return old.rename(new)


def test_a_moved_folder_takes_its_steps_from_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "a"
    assert run(root) == DONE and run(root) == CACHED
    root = move(root, tmp_path / "elsewhere" / "b")
    check(root, 2)
    assert read_json(root / "visionline.json")["roots"] == [str(tmp_path / "a")], "only looked"
    assert run(root) == CACHED
    assert run(root, seed=2) == DONE, "what is made here is recorded as made here"
    root = move(root, tmp_path / "c")
    root = move(root, tmp_path / "elsewhere" / "b" / "d")  # twice, into a former place
    check(root, 4)
    assert run(root) == CACHED and run(root, seed=2) == CACHED
    root = move(move(root, tmp_path / "e"), tmp_path / "a")  # back again
    assert run(root) == CACHED and run(root, seed=2) == CACHED
    check(root, 4)


def test_a_folder_above_is_moved(tmp_path: Path) -> None:
    assert run(tmp_path / "home" / "x" / "out") == DONE
    (tmp_path / "home").rename(tmp_path / "other")
    assert run(tmp_path / "other" / "x" / "out") == CACHED
    check(tmp_path / "other" / "x" / "out", 2)


def test_one_folder_by_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, link = tmp_path / "real", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    monkeypatch.chdir(tmp_path)
    names = [link, root, Path("link/"), Path("real"), tmp_path / "real" / ".." / "link"]
    assert [run(name) for name in names] == [DONE, *[CACHED] * 4]
    assert Workspace(root).claim("tiny") is None, "a name is not a move"
    check(root, 2)
    check(link, 2)


@pytest.mark.skipif(not may_mount(), reason="needs a bind mount")
def test_a_bind_mount(tmp_path: Path) -> None:
    root, other = tmp_path / "real", tmp_path / "mounted"
    assert run(root) == DONE
    other.mkdir()
    subprocess.run(["mount", "--bind", root, other], check=True)
    try:
        assert run(other) == CACHED and run(root) == CACHED
        check(other, 2)
    finally:
        subprocess.run(["umount", "-l", other], check=True)


def test_a_copy_belongs_to_itself(tmp_path: Path) -> None:
    root, copy = tmp_path / "a", tmp_path / "b"
    assert run(root) == DONE
    shutil.copytree(root, copy, symlinks=True)
    before = (root / "metadata.sqlite").read_bytes()
    assert run(copy) == CACHED and run(copy, seed=2) == DONE
    check(copy, 4)
    assert (root / "metadata.sqlite").read_bytes() == before
    assert run(root, seed=3) == DONE and run(copy, seed=3) == DONE
    with closing(open_reader(Workspace(copy).connection)) as reader:
        assert plan(reader, copy / "artifacts", 1).remove
    names = [set(recorded(r)) for r in (root, copy)]
    assert len(names[0] & names[1]) == 2, "what each makes has a name of its own"
    shutil.rmtree(root)
    check(copy, 6)
    (copy / "artifacts" / "Maker" / "examples" / "1" / "data.txt").write_text("x")
    with closing(open_reader(Workspace(copy).connection)) as reader:
        assert [p.kind for p in verify(reader).problems] == ["changed"]


def recorded(root: Path) -> list[str]:
    return [a.uri for a in Store(root).store.get_artifacts()]


def test_folders_from_before_the_marker_said_where_they_are(tmp_path: Path) -> None:
    assert run(tmp_path / "a") == DONE
    root = move(tmp_path / "a", tmp_path / "b")
    write_json(root / "visionline.json", {"pipeline": "tiny"})
    check(root, 2)
    assert read_json(root / "visionline.json") == {"pipeline": "tiny"}
    assert run(root) == CACHED


def test_reading_writes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "a") == DONE
    root = move(tmp_path / "a", tmp_path / "b")

    def state() -> list[tuple[str, int]]:
        return sorted((str(p), p.stat().st_mtime_ns) for p in root.rglob("*"))

    before = state()
    check(root, 2)
    assert state() == before


def test_a_moved_folder_with_a_shared_store(tmp_path: Path) -> None:
    store = Connection.parse(str(tmp_path / "shared.sqlite"))
    a, b = tmp_path / "a", tmp_path / "b"
    assert run(a, store=store) == DONE
    assert run(b, store=store) == CACHED, "folders that share a store share their steps"
    moved = move(a, tmp_path / "moved")
    assert run(moved, store=store) == CACHED
    check(moved, 2)
    (found,) = {root_of(uri) for uri in places_of(b)}
    assert found == str(a), "where the other folder went is not known here"
    assert run(b, store=store) == DONE


def test_a_copy_takes_nothing_from_its_original(tmp_path: Path) -> None:
    store = Connection.parse(str(tmp_path / "shared.sqlite"))
    a, copy = tmp_path / "a", tmp_path / "copy"
    assert run(a, store=store) == DONE
    shutil.copytree(a, copy)
    names = [x.uri for x in _all(store)]
    with pytest.raises(RunError, match=r"is a copy: `visionline relocate .* --copy`"):
        run(copy, store=store)
    Workspace(copy).relocate(copy=True)
    assert run(copy, seed=2, store=store) == DONE and run(a, store=store) == CACHED
    assert [x.uri for x in _all(store)][: len(names)] == names
    shutil.rmtree(a)
    assert run(copy, store=store) == DONE


def _all(store: Connection) -> list[Any]:
    with closing(open_reader(store)) as reader:
        return list(reader.all_artifacts())


PLACES = Places(root="/n/out", roots=("/n/out", "/o/out", "/o"), serving={"/srv/a": "/srv/b"})


@pytest.mark.parametrize(
    ("recorded", "here"),
    [
        ("/o/out/artifacts/x", "/n/out/artifacts/x"),
        ("/o/artifacts/x", "/n/out/artifacts/x"),
        ("/n/out/x", "/n/out/x"),
        ("/other/x", "/other/x"),
        ("/outer/x", "/outer/x"),
        ("/o/outer/x", "/n/out/outer/x"),
        ("/srv/a/m/1", "/srv/b/m/1"),
        ("/srv/ab", "/srv/ab"),
        ("gs://o/out", "gs://o/out"),
        ("of /o/out", "of /o/out"),
    ],
)
def test_where_a_name_is(recorded: str, here: str) -> None:
    assert PLACES.here(recorded) == here
    assert recorded in PLACES.names(here)


def test_the_root_of_a_name() -> None:
    assert root_of("/o/out/artifacts/Trainer/model/6") == "/o/out"
    assert [root_of(u) for u in ("/artifacts/a/b/1", "gs://b/artifacts/a/b/1", "/a/b", "")] == [
        None
    ] * 4
