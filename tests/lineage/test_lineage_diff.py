"""Why two models or runs differ: exactly what changed is named, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from conftest import Cli, Demo
from lineage_store import Builder, BuiltRun
from reference_reader import open_reader

from common.errors import Exit, NotFoundError
from components.example_gen.image_index import IMAGES_FILE, IndexedImage, to_lines
from lineage.questions.diff import Difference, diff
from lineage.store.connection import Connection
from pipeline.recording.provenance import installed_packages

pytestmark = pytest.mark.quick

Via = Literal["sql", "mlmd"]
DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)

CONFIG: dict[str, Any] = {
    "data": {"path": "photos", "span": None, "splits": {"train": 0.8, "val": 0.2}},
    "train": {"optimizer": "adamw", "epochs": 3, "seed": 0, "augment": {"rotation": 8.0}},
    "transform": {"image_size": 32, "resize": "crop"},
    "evaluate": {"min_accuracy": 0.9, "slices": []},
}
RUN: dict[str, Any] = {
    "state": "complete",
    "config": CONFIG,
    "packages": {"numpy": "2.4.0", "rich": "14.0"},
    "python": "3.11.7",
    "host": "vm",
    "seed": 0,
    "framework": "keras",
    "model": "small_cnn",
    "visionline_git_commit": "abc",
    "visionline_git_dirty": 0,
}
TRAINER: dict[str, Any] = {
    "framework": "keras",
    "architecture": "small_cnn",
    "hyper_parameters": CONFIG["train"],
    "seed": 0,
    "accelerator": "cpu",
    "code_digest": "c0de",
    "val_loss": 0.5,
}
DATA: dict[str, Any] = {"dataset_digest": "d1", "span": 0, "image_count": 3, "class_count": 2}
IMAGES = [IndexedImage(c * 64, "train", "cat", f"cat/{c}.png".encode()) for c in "123"]
SCHEMA = """
feature {{ name: "label" type: BYTES domain: "label" annotation {{ comment: "{comment}" }} }}
feature {{ name: "image/width" type: {width} }}
string_domain {{ name: "label" {values} }}
"""


def schema(*classes: str, width: str = "INT", comment: str = "") -> str:
    values = " ".join(f'value: "{c}"' for c in classes)
    return SCHEMA.format(values=values, width=width, comment=comment)


@dataclass
class Made:
    """A store, to which runs are added that differ from each other as told."""

    builder: Builder
    path: Path

    def run(
        self,
        run_id: str,
        *,
        run: Mapping[str, Any] | None = None,
        trainer: Mapping[str, Any] | None = None,
        evaluator: Mapping[str, Any] | None = None,
        schema_gen: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        images: list[IndexedImage] | None = IMAGES,
        schema_text: str = schema("cat", "dog"),
        **others: Any,
    ) -> BuiltRun:
        built = self.builder.run(
            run_id,
            run_properties=RUN | dict(run or {}),
            properties={
                "SchemaGen": dict(schema_gen or {}),
                "Trainer": TRAINER | dict(trainer or {}),
                "Evaluator": {"accuracy": 0.9, **(evaluator or {})},
            },
            artifact_properties={"ImageExampleGen.examples": DATA | dict(data or {})},
            **others,
        )
        if images is not None:
            (self.folder(built, "ImageExampleGen.report") / IMAGES_FILE).write_bytes(
                to_lines(images)
            )
        if "SchemaGen.schema" in built.artifacts:
            (self.folder(built, "SchemaGen.schema") / "schema.pbtxt").write_text(schema_text)
        return built

    def folder(self, run: BuiltRun, place: str) -> Path:
        (found,) = self.builder.store.get_artifacts_by_id([run.artifacts[place]])
        return Path(found.uri)

    def diff(self, a: str, b: str, via: Via = "sql") -> Difference:
        return diff(open_reader(Connection.parse(str(self.path)), via), a, b)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    path = tmp_path / "metadata.sqlite"
    return Made(Builder(path, files=True), path)


def changes(found: Difference) -> list[tuple[str, str, Any, Any]]:
    return [(c.section, c.key, c.before, c.after) for c in found.changes]


def test_each_change_is_named_and_nothing_else(made: Made) -> None:
    made.run("a")
    config = json.loads(json.dumps(CONFIG))
    config["data"]["path"] = "more-photos"  # where the images were read is no difference
    config["data"]["splits"] = {"train": 0.5, "val": 0.5}
    config["evaluate"] |= {"min_accuracy": 0.95, "slices": ["camera"]}
    config["train"] |= {"optimizer": "sgd", "momentum": 0.9, "augment": {"rotation": 0.0}}
    made.run(
        "b",
        run={
            "config": config,
            "packages": {"numpy": "2.5.0", "timm": "1.0"},
            "visionline_git_commit": "def",
        },
        trainer={
            "hyper_parameters": config["train"],
            "seed": 7,
            "accelerator": "cuda",
            "val_loss": 0.4,
        },
        evaluator={"accuracy": 0.95},
        schema_text=schema("cat", "frog", width="FLOAT", comment="counts differ, too"),
    )
    found = made.diff("a", "b")
    assert changes(found) == [
        ("data", "config splits.train", 0.8, 0.5),
        ("data", "config splits.val", 0.2, 0.5),
        ("hyper-parameters", "augment.rotation", 8.0, 0.0),
        ("hyper-parameters", "momentum", None, 0.9),
        ("hyper-parameters", "optimizer", "adamw", "sgd"),
        ("schema", "class dog", True, None),
        ("schema", "class frog", None, True),
        ("schema", "feature image/width.type", "INT", "FLOAT"),
        ("code", "visionline commit", "abc", "def"),
        ("seed", "seed", 0, 7),
        ("packages", "numpy", "2.4.0", "2.5.0"),
        ("packages", "rich", "14.0", None),
        ("packages", "timm", None, "1.0"),
        ("hardware", "accelerator", "cpu", "cuda"),
        ("evaluation", "min_accuracy", 0.9, 0.95),
        ("evaluation", "slices", [], ["camera"]),
    ]
    assert not found.identical and found.unrecorded == ()
    assert {(c.key, c.before, c.after) for c in found.results} == {
        ("accuracy", 0.9, 0.95),
        ("val_loss", 0.5, 0.4),
    }
    # The data's config differs, and its images turn out to be the same.
    assert found.data is not None and found.data.images is not None
    assert found.data.images.total == 0


def test_only_the_results_differ(made: Made) -> None:
    made.run("a")
    made.run("b", evaluator={"accuracy": 0.91})
    found = made.diff("a", "b")
    assert found.identical and found.changes == () and found.data is None
    assert [c.key for c in found.results] == ["accuracy"]


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_the_images_that_changed_are_named(made: Made, via: Via) -> None:
    first, second, third = IMAGES
    made.run("a")
    new = replace(third, sha256="4" * 64, path=b"dog/4.png", label="dog")
    images = [replace(first, label="dog"), replace(second, split="val"), new]
    made.run("b", data={"dataset_digest": "d2"}, images=images)
    found = made.diff("a", "b", via)
    assert changes(found) == [("data", "digest", "d1", "d2")]
    assert found.data is not None and found.data.images is not None
    told = found.data.images
    assert (told.added.by, told.removed.by) == ({"dog": 1}, {"cat": 1})
    assert (told.relabelled.by, told.moved.by) == ({"cat → dog": 1}, {"train → val": 1})
    assert [c.path for c in told.added.first] == ["dog/4.png"]
    assert [c.path_before for c in told.removed.first] == ["cat/3.png"]
    assert told.renamed.count == 0


def test_an_index_that_is_gone_is_said_to_be(made: Made) -> None:
    made.run("a")
    made.run("b", data={"dataset_digest": "d2"}, images=None)
    found = made.diff("a", "b")
    assert found.data is not None and found.data.images is None
    assert "ingested before there were indexes" in str(found.data.not_available)


def test_a_schema_whose_file_is_gone_is_told_by_its_digest(made: Made) -> None:
    places = [f"{made.builder.root}/SchemaGen/schema/{n}" for n in (1, 2, 3)]
    for name, place in zip(("a", "b"), places, strict=False):
        made.run(name, schema_gen={"output_digests": {place: f"digest of {name}"}})
    c = made.run("c")
    for path in (*places[:2], str(made.folder(c, "SchemaGen.schema"))):
        (Path(path) / "schema.pbtxt").unlink()
    assert changes(made.diff("a", "b")) == [
        ("schema", "digest", "digest of a", "digest of b"),
    ]
    found = made.diff("b", "c")
    assert found.changes == ()
    assert [(u.section, u.key, u.side) for u in found.unrecorded] == [("schema", "digest", "b")]
    assert made.diff("c", "a").unrecorded[0].side == "a"


def test_what_was_reused_is_no_difference(made: Made) -> None:
    first = made.run("a")
    made.builder.run("b", reused=dict.fromkeys(first.executions, first), run_properties=RUN)
    found = made.diff("a", "b")
    assert found.identical and found.a.model_id == found.b.model_id is not None
    made.builder.run(
        "c",
        reused=dict.fromkeys(DATA_STEPS, first),
        run_properties=RUN,
        properties={"Trainer": TRAINER | {"seed": 1}},
    )
    assert changes(made.diff("a", "c")) == [("seed", "seed", 0, 1)]


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_a_run_that_failed_is_compared_as_far_as_it_came(made: Made, via: Via) -> None:
    made.run("good")
    config = CONFIG | {"transform": {"image_size": [32, 48], "resize": "crop"}}
    run = {"state": "failed", "error": "no memory", "config": config}
    made.run("bad", run=run, fails="Trainer", trainer={"seed": 5})
    found = made.diff("good", "bad", via)
    assert (found.b.model_id, found.b.state) == (None, "failed")
    size = ("transform", "image size", [32, 32], [32, 48])
    assert changes(found) == [size, ("seed", "seed", 0, 5)]
    early = made.builder.run("early", fails="ImageExampleGen", run_properties=run)
    assert early.artifacts == {}
    found = made.diff("good", "early", via)
    assert changes(found) == [size]
    assert ("data", "digest", "b") in [(u.section, u.key, u.side) for u in found.unrecorded]


def test_uncommitted_changes_may_differ(made: Made) -> None:
    made.run("a", run={"visionline_git_dirty": 1})
    made.run("b", run={"visionline_git_dirty": 1})
    found = made.diff("a", "b")
    assert found.identical
    assert [(u.section, u.side) for u in found.unrecorded] == [("code", "a"), ("code", "b")]


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_runs_of_another_pipeline(made: Made, via: Via) -> None:
    """Nothing is recorded but TFX's own: no differences are made up."""
    for name in ("a", "b"):
        made.builder.run(name, record_run=False)
    found = made.diff("a", "b", via)
    assert found.changes == ()
    assert ("data", "contents", "a") in [(u.section, u.key, u.side) for u in found.unrecorded]


def test_nobody_of_that_name(made: Made) -> None:
    made.run("a")
    with pytest.raises(NotFoundError, match="nobody"):
        made.diff("a", "nobody")


def test_the_command(made: Made, cli: Cli) -> None:
    made.run("a")
    data = {"dataset_digest": "d2", "image_count": 2}
    made.run("b", data=data, images=IMAGES[:2], trainer={"seed": 1})
    done = cli("lineage", "diff", "a", "b", "--metadata", made.path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "seed\tseed\t0\t1" in lines
    assert "removed\t1\tcat: 1" in lines
    assert f"removed\tcat/3.png\tcat\ttrain\t{'3' * 12}" in lines
    same = cli("lineage", "diff", "a", "a", "--metadata", made.path)
    assert same.returncode == 0
    assert "Nothing that is recorded of their making differs." in same.stdout
    missing = cli("lineage", "diff", "a", "nobody", "--metadata", made.path)
    assert missing.returncode == Exit.NOTHING_FOUND and "nobody" in missing.stderr


def test_the_frameworks_of_the_demo(demo: Demo, cli: Cli) -> None:
    done = cli(
        *("lineage", "diff", "digits-keras", "digits-pytorch", "--json"),
        *("--output", demo.workspace),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    named = [(c["section"], c["key"]) for c in found["changes"]]
    assert named == [("framework", "framework"), ("code", "training code digest")]
    assert (found["changes"][0]["before"], found["changes"][0]["after"]) == ("keras", "pytorch")
    assert found["data"] is None and found["results"]


def test_packages_that_setuptools_brings_for_itself_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed_packages()
    info = tmp_path / "_vendor" / "rich-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(str(info.parent))
    assert installed_packages() == before
    assert before["rich"] != "0.1"


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_uncommitted_changes_that_are_recorded_are_compared(made: Made, via: Via) -> None:
    for name, patch in (("a", "p1"), ("same", "p1"), ("other", "p2")):
        made.run(name, run={"visionline_git_dirty": 1, "visionline_git_changes": patch})
    assert made.diff("a", "same", via).unrecorded == ()
    place = ("code", "visionline uncommitted changes")
    assert changes(made.diff("a", "other", via)) == [(*place, "p1", "p2")]


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_modules_of_ones_own_are_compared(made: Made, via: Via) -> None:
    own = {"model": "mine:make", "own_code": {"mine": "1", "helper": "2"}}
    made.run("a", run=own)
    made.run("b", run=own | {"own_code": {"mine": "1", "helper": "3"}})
    assert changes(made.diff("a", "b", via)) == [("code", "module helper", "2", "3")]
    made.run("old", run={"model": "mine:make"})
    missing = [(u.section, u.key, u.side) for u in made.diff("a", "old", via).unrecorded]
    assert missing == [("code", "module", "b")]
