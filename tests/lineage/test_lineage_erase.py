"""Withdrawn images: what is removed, what is marked, what is left and said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Cli
from lineage_store import PREDICTING, STOCK, Builder, BuiltRun
from ml_metadata.proto import metadata_store_pb2 as mlmd
from served_versions import serve

from common.errors import Exit, RunError
from components.example_gen.image_index import IMAGES_FILE, IndexedImage, to_lines
from lineage.graph.marks import erasures
from lineage.graph.producers import ancestry
from lineage.questions.affected_images import affected_by_images
from lineage.questions.model import model_lineage
from lineage.storage import erase as erasing
from lineage.storage.erase import Erased, erase, plan
from lineage.storage.verify import verify
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.workspace import Workspace
from modelstore.artifact import PushManifest

pytestmark = pytest.mark.quick

NAME = "digits-keras"


class Folder:
    """An output folder: version 1 on an image that is withdrawn, 2 on it as well, 3 not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        (root / "visionline.json").write_text('{"pipeline": "digits"}')
        self.image = root / "source" / "cat" / "x.png"
        self.image.parent.mkdir(parents=True)
        self.image.write_bytes(b"an image")
        self.sha = hashlib.sha256(b"an image").hexdigest()
        self.builder = Builder(root / "metadata.sqlite", files=True)
        self.copies = [
            root / "cache" / "shards" / "d1g357" / "train" / "images_NHW3.npy",
            root / "runs" / "run-0" / "training" / "tensorboard" / "images" / "events",
        ]
        properties = {"ImageExampleGen": {"resolved_path": str(root / "source")}}
        first = self.run(1, properties=properties)
        self.index(first, self.sha)
        second = self.run(2, properties=properties, reused={"ImageExampleGen": first})
        third = self.run(3, properties=properties)
        self.index(third, "9" * 64)
        self.runs = (first, second, third)
        shown = self.uri(third, "Trainer.model_run") / "tensorboard" / "images" / "events"
        for copy in (*self.copies, shown):
            copy.parent.mkdir(parents=True)
            copy.write_bytes(bytes(100))
        self.figures = shown.parent.parent / "events"
        self.figures.write_bytes(b"")
        self.copies.append(shown)
        for run, version in zip(self.runs, (1, 2, 3), strict=True):
            self._serve(run, version)

    def run(self, version: int, **more: object) -> BuiltRun:
        run = self.builder.run(f"run-{version}", version=version, **more)  # type: ignore[arg-type]
        for split in ("train", "val"):
            images = self.uri(run, "ArrayGen.arrays") / f"Split-{split}" / "images_NHW3.npy"
            images.parent.mkdir()
            images.write_bytes(bytes(100))
        return run

    def uri(self, run: BuiltRun, place: str) -> Path:
        (found,) = self.builder.store.get_artifacts_by_id([run.artifacts[place]])
        return Path(found.uri)

    def index(self, run: BuiltRun, sha: str, split: str = "train") -> None:
        image = IndexedImage(sha, split, "cat", b"cat/x.png")
        path = self.uri(run, "ImageExampleGen.report") / IMAGES_FILE
        path.write_bytes(to_lines([image]))

    def _serve(self, run: BuiltRun, version: int) -> None:
        directory = serve(self.root)
        assert directory.name == str(version)
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["model_uri"] = str(self.uri(run, "Trainer.model"))
        (directory / "manifest.json").write_text(json.dumps(manifest))
        assert PushManifest.read(directory)

    @property
    def connection(self) -> Connection:
        return Connection.parse(str(self.root / "metadata.sqlite"))

    def reader(self):  # type: ignore[no-untyped-def]
        return open_reader(self.connection)

    def erase(self, reason: str = "asked to") -> Erased:
        return erase(
            Workspace(self.root), self.connection, {self.sha: None}, reason, lambda n, of: None
        )

    def examples(self) -> set[Path]:
        kinds = ("*/examples/*", "*/arrays/*")
        return {p for kind in kinds for p in (self.root / "artifacts").glob(kind) if p.is_dir()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


def files(root: Path) -> set[str]:
    return {os.path.relpath(p, root) for p in root.rglob("*")}


def test_a_plan_changes_nothing_and_says_all(folder: Folder, cli: Cli) -> None:
    before = files(folder.root)
    done = cli("erase", folder.image, "--dry-run", "--output", folder.root)
    assert done.returncode == 0, done.stderr
    assert files(folder.root) == before
    found = plan(folder.reader(), Workspace(folder.root), {folder.sha: None})
    first, second, _ = folder.runs
    assert {i.artifact_id for i in found.remove} == {
        first.artifacts["ImageExampleGen.examples"],
        first.artifacts["ArrayGen.arrays"],
        second.artifacts["ArrayGen.arrays"],
    }
    assert {(m.model_id, m.use) for m in found.models} == {
        (r.artifacts["Trainer.model"], "trained") for r in (first, second)
    }
    assert not found.served, "version 3 did not use it"
    left = {r.copy.kind: r for r in found.remains}
    assert left["source"].copy.where == str(folder.image) and left.keys() == {"source", "report"}
    assert str(folder.image) in done.stdout and "it is yours" in done.stdout


def test_erased_marked_and_known_to_be_on_purpose(folder: Folder) -> None:
    kept = folder.uri(folder.runs[2], "ImageExampleGen.examples")
    done = folder.erase()
    assert (done.state, done.removed, done.failures) == ("done", 3, ())
    assert kept in folder.examples() and len(folder.examples()) == 2, "only the third run's"
    assert not any(copy.exists() for copy in folder.copies)
    assert folder.image.exists() and folder.figures.exists()
    reader = folder.reader()
    (erasure,) = erasures(reader)
    assert (erasure.sha256, erasure.reason) == ((folder.sha,), "asked to")
    model = folder.runs[0].artifacts["Trainer.model"]
    assert erasure.models[model] == "trained" and len(erasure.removed) == 3
    assert model_lineage(reader, str(model)).withdrawn == (erasure,)
    free = folder.runs[2].artifacts["Trainer.model"]
    assert model_lineage(reader, str(free)).withdrawn == ()
    found = verify(reader)
    assert found.checked.erased == 3
    assert not [p for p in found.problems if p.kind in ("missing", "not-removed")]
    # What it was used for is still known: the report says so, and has no pixels.
    again = affected_by_images(reader, {folder.sha: None})
    assert again.model_count == 2
    assert {c.kind for c in again.copies} == {"source", "report"}
    # No property of an artifact has changed: those are part of cache keys.
    artifact = reader.artifacts([model])[model]
    assert set(artifact.custom) == {"framework", "architecture"}


def test_again_it_does_nothing_more(folder: Folder) -> None:
    folder.erase()
    once = files(folder.root)
    done = folder.erase(reason="")
    assert (done.state, done.removed, done.plan.remove) == ("done", 0, ())
    assert files(folder.root) == once
    (erasure,) = erasures(folder.reader())
    assert erasure.reason == "asked to" and len(erasure.removed) == 3


@pytest.mark.parametrize("at", ["record_erasure", "set_states", "remove_files", "_remove_copies"])
def test_killed_anywhere_it_is_finished_by_the_same_command(
    folder: Folder, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(erasing, at, killed)
        with pytest.raises(KeyboardInterrupt):
            folder.erase()
    done = folder.erase()
    assert done.state == "done" and not any(copy.exists() for copy in folder.copies)
    assert len(folder.examples()) == 2
    (erasure,) = erasures(folder.reader())
    assert len(erasure.removed) == 3


def test_what_serves_it_is_named_with_what_could_serve_instead(tmp_path: Path, cli: Cli) -> None:
    folder = Folder(tmp_path / "out")
    folder._serve(folder.runs[1], 4)
    (served,) = plan(folder.reader(), Workspace(folder.root), {folder.sha: None}).served
    assert (served.version, served.use, served.roll_back_to) == (4, "trained", 3)
    done = cli("erase", folder.image, "--dry-run", "--output", folder.root)
    assert f"visionline rollback {NAME} --to 3 --serving {folder.root}/serving" in done.stdout
    shutil.rmtree(folder.root / "serving" / NAME / "3")
    (served,) = plan(folder.reader(), Workspace(folder.root), {folder.sha: None}).served
    assert (served.version, served.roll_back_to) == (4, None)


def test_golden_images_of_before_are_left_and_said(folder: Folder) -> None:
    folder.index(folder.runs[0], folder.sha, "val")
    model = folder.uri(folder.runs[0], "Trainer.model") / "Format-Serving"
    model.mkdir()
    places = [model, folder.root / "serving" / NAME / "1"]
    for place in places:
        (place / "golden.npz").write_bytes(b"pixels")
    left = plan(folder.reader(), Workspace(folder.root), {folder.sha: None}).remains
    assert {r.copy.where for r in left if r.copy.kind == "golden"} == {
        str(p / "golden.npz") for p in places
    }
    (model / "model.json").write_text('{"golden": "drawn"}')
    left = plan(folder.reader(), Workspace(folder.root), {folder.sha: None}).remains
    assert len([r for r in left if r.copy.kind == "golden"]) == 1


def test_what_lies_elsewhere_is_left_and_said(folder: Folder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(folder.uri(folder.runs[0], "ArrayGen.arrays"), elsewhere)
    artifact_id = folder.runs[0].artifacts["ArrayGen.arrays"]
    (artifact,) = folder.builder.store.get_artifacts_by_id([artifact_id])
    artifact.uri = str(elsewhere)
    folder.builder.store.put_artifacts([artifact])
    done = folder.erase()
    assert elsewhere.exists() and done.removed == 2
    assert f"{elsewhere}/Split-train" in {r.copy.where for r in done.plan.remains}
    assert artifact_id not in {i.artifact_id for i in done.plan.remove}


def test_while_a_run_uses_it_nothing_is_removed(folder: Folder) -> None:
    (execution,) = folder.builder.store.get_executions_by_id(
        [folder.runs[1].executions["Evaluator"]]
    )
    execution.last_known_state = mlmd.Execution.RUNNING
    folder.builder.store.put_executions([execution])
    before = files(folder.root)
    with pytest.raises(RunError, match="A run is using artifact"):
        folder.erase()
    assert files(folder.root) - {".lock"} == before - {".lock"}
    assert not erasures(folder.reader())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x.png"], 2, "say --dry-run"),
        (["x.png", "--dry-run", "--yes"], 2, "say --dry-run"),
        (["--yes"], 2, "name images"),
        (["missing.png", "--yes"], 2, "there is no such file"),
        (["--sha256", "7" * 64, "--yes"], Exit.NOTHING_FOUND, "0 of 1 images"),
    ],
)
def test_the_command(folder: Folder, cli: Cli, arguments: list[str], code: int, said: str) -> None:
    before = files(folder.root)
    done = cli("erase", *arguments, "--output", folder.root)
    assert done.returncode == code, done.stderr
    assert said in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr and files(folder.root) - {".lock"} == before - {".lock"}


def test_in_a_store_that_cannot_be_searched_it_is_not_said_to_be_nowhere(
    tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "visionline.json").write_text('{"pipeline": "digits"}')
    Builder(tmp_path / "metadata.sqlite", files=True).run(components=STOCK, foreign=True)
    done = cli("erase", "--sha256", "7" * 64, "--yes", "--output", tmp_path)
    assert done.returncode == Exit.CANNOT_TELL
    assert "1 datasets could not be searched" in done.stdout


def test_predictions_of_a_withdrawn_image_go_with_its_dataset(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    run = folder.run(4, components=PREDICTING)
    folder.index(run, folder.sha)
    with closing(open_reader(folder.connection)) as reader:
        planned = plan(reader, Workspace(folder.root), {folder.sha: None})
    removed = {item.artifact_id for item in planned.remove}
    nodes = ("BulkInferrer", "BaselineInferrer")
    assert {run.artifacts[f"{node}.inference_result"] for node in nodes} <= removed


def test_a_baseline_s_predictions_are_no_part_of_a_verdict_s_ancestry(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    first = folder.run(4, components=PREDICTING)
    second = folder.run(5, components=PREDICTING, reused={"BaselineInferrer": first})
    with closing(open_reader(folder.connection)) as reader:
        found = ancestry(reader, [second.artifacts["Evaluator.blessing"]]).artifacts
    assert second.artifacts["BulkInferrer.inference_result"] in found
    assert first.artifacts["Trainer.model"] not in found
    assert first.artifacts["BaselineInferrer.inference_result"] not in found
