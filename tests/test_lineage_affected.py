"""What was built on some data: reuse, baselines, judges, serving; both readers agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from conftest import Cli, Demo
from lineage_store import Builder, BuiltRun
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.example_gen.image_index import IMAGES_FILE, IndexedImage, to_lines
from pipeline import exits
from pipeline.lineage.affected import (
    Affected,
    affected_by,
    affected_by_image,
    affected_by_span,
)
from pipeline.lineage.connection import Connection, open_reader
from pipeline.lineage.store import NotFoundError, Reader

Via = Literal["sql", "mlmd"]
DATA_STEPS = ("ImageExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform")
SHA = "5" * 64


@dataclass
class Store:
    path: Path
    a: BuiltRun
    """Two models on it: digits-keras@1 and, with the cache's help, @2, served beside it."""
    b: BuiltRun
    """One model on it, other@1, judged on a's data as well; its files are not served."""

    def reader(self, via: Via = "sql") -> Reader:
        return open_reader(Connection.parse(str(self.path)), via)


def data(digest: str, span: int) -> dict[str, dict[str, object]]:
    return {"ImageExampleGen.examples": {"dataset_digest": digest, "span": span, "image_count": 3}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path, files=True)
    accuracy = {"Evaluator": {"accuracy": 0.75}}
    a = builder.run("run-a", version=1, artifact_properties=data("a" * 64, 1))
    builder.run("run-a2", version=2, reused=dict.fromkeys(DATA_STEPS, a), properties=accuracy)
    builder.run("run-a3", version=None, reused=dict.fromkeys(DATA_STEPS, a), fails="Trainer")
    b = builder.run(
        "run-b",
        name="other",
        artifact_properties=data("b" * 64, 2),
        baseline=a.artifacts["Trainer.model"],
    )
    judge_again(builder, model=b, examples=a)
    for version in ("1", "2"):
        (path.parent / "serving" / "digits-keras" / version).mkdir(parents=True)
    index(builder, a, [IndexedImage(SHA, "test", "cat", b"x\xff.png")])
    index(builder, b, [IndexedImage("6" * 64, "train", "cat", b"y.png")])
    return Store(path, a, b)


def judge_again(builder: Builder, model: BuiltRun, examples: BuiltRun) -> None:
    """An Evaluator and a Pusher for one run's model, on the data of another."""
    ids = [model.artifacts["Trainer.model"], examples.artifacts["ImageExampleGen.examples"]]
    inputs = builder.store.get_artifacts_by_id(ids)
    blessing = mlmd.Artifact(
        type_id=builder.type("artifact", "ModelBlessing"), uri="/b", state=mlmd.Artifact.LIVE
    )
    context = builder.store.get_contexts_by_id([model.context_id])
    builder.store.put_execution(
        mlmd.Execution(
            type_id=builder.type("execution", "tfx.components.evaluator.component.Evaluator"),
            last_known_state=mlmd.Execution.COMPLETE,
        ),
        [
            *((i, mlmd.Event(type=mlmd.Event.INPUT)) for i in inputs),
            (blessing, mlmd.Event(type=mlmd.Event.OUTPUT)),
        ],
        context,
    )


def report(builder: Builder, run: BuiltRun) -> Path:
    (found,) = builder.store.get_artifacts_by_id([run.artifacts["ImageExampleGen.report"]])
    return Path(found.uri)


def index(builder: Builder, run: BuiltRun, images: list[IndexedImage]) -> None:
    (report(builder, run) / IMAGES_FILE).write_bytes(to_lines(images))


def told(
    found: Affected,
) -> tuple[list[str | None], list[tuple[str, int | str | None, str | None]]]:
    versions = [(str(v.name), v.version, v.serving) for v in found.versions]
    return [m.run_id for m in found.models], versions


ON_A = (
    ["run-a2", "run-a"],
    [("digits-keras", 2, "latest"), ("digits-keras", 1, "kept")],
)


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_what_was_built_on_data_and_not_what_was_judged_by_it(store: Store, via: Via) -> None:
    found = affected_by_span(store.reader(via), 1)
    assert told(found) == ON_A
    assert (found.model_count, found.version_count) == (2, 2)
    assert [d.artifact_id for d in found.data] == [store.a.artifacts["ImageExampleGen.examples"]]
    assert [(m.accuracy, m.pushed) for m in found.models] == [
        (0.75, ("digits-keras@2",)),
        (None, ("digits-keras@1",)),
    ]
    on_b = affected_by_span(store.reader(via), 2)
    assert told(on_b) == (["run-b"], [("other", 1, "removed")])


@pytest.mark.parametrize(
    "ref",
    [
        "a" * 64,
        "run-a2",
        "run-a3",
        "digits-keras@1",
        "digits-keras",
        *(
            f"a:{place}"
            for place in (
                "ImageExampleGen.examples",
                "ImageExampleGen.report",
                "StatisticsGen.statistics",
                "SchemaGen.schema",
                "Transform.transform_graph",
                "Transform.transformed_examples",
                "Evaluator.blessing",
            )
        ),
    ],
)
def test_everything_that_means_the_data(store: Store, ref: str) -> None:
    if ref.startswith("a:"):
        ref = str(store.a.artifacts[ref.removeprefix("a:")])
    assert told(affected_by(store.reader(), ref)) == ON_A


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_an_image_is_found_by_content(store: Store, via: Via) -> None:
    found = affected_by_image(store.reader(via), SHA)
    assert told(found) == ON_A and found.unsearched == {}
    ((image,),) = [d.images for d in found.data]
    assert (image.path, image.label, image.split) == ("x\\xff.png", "cat", "test")
    nowhere = affected_by_image(store.reader(via), "7" * 64)
    assert (nowhere.data, nowhere.model_count) == ((), 0)


def test_datasets_that_cannot_be_searched_are_counted(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    runs = [builder.run(f"run-{n}", version=n) for n in range(1, 6)]
    index(builder, runs[0], [IndexedImage(SHA, "train", "cat", b"x.png")])
    index(builder, runs[1], [IndexedImage(SHA, "train", "cat", b"x.png")])
    (report(builder, runs[1]) / IMAGES_FILE).write_text("damaged\n")
    for file in report(builder, runs[2]).iterdir():
        file.unlink()
    report(builder, runs[2]).rmdir()
    (deleted,) = builder.store.get_artifacts_by_id([runs[3].artifacts["ImageExampleGen.report"]])
    deleted.state = mlmd.Artifact.DELETED
    builder.store.put_artifacts([deleted])
    connection = Connection.parse(str(tmp_path / "metadata.sqlite"))
    found = affected_by_image(open_reader(connection), SHA)
    assert [m.run_id for m in found.models] == ["run-1"]
    assert found.unsearched == {"unreadable": 1, "gone": 1, "deleted": 1, "older": 1}


def test_a_limit_keeps_the_counts_and_what_is_served(store: Store) -> None:
    found = affected_by_span(store.reader(), 1, limit=0)
    assert (found.models, found.model_count) == ((), 2)
    assert told(found)[1] == ON_A[1]
    found = affected_by_span(store.reader(), 2, limit=0)
    assert (found.versions, found.version_count) == ((), 1)


def test_executions_that_do_not_name_their_run(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    built = builder.run("theirs", record_run=False)
    reader = open_reader(Connection.parse(str(tmp_path / "metadata.sqlite")))
    ref = str(built.artifacts["ImageExampleGen.examples"])
    assert [m.run_id for m in affected_by(reader, ref).models] == ["theirs"]


def test_nothing_of_that_name(store: Store) -> None:
    for ref, message in (("c" * 64, "--sha256"), ("nobody", "nobody"), ("999", "999")):
        with pytest.raises(NotFoundError, match=message):
            affected_by(store.reader(), ref)
    with pytest.raises(NotFoundError, match="span 1, version 2"):
        affected_by_span(store.reader(), 1, version=2)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--span", "1"], 0, "digits-keras@2\tlatest"),
        (["--sha256", SHA.upper()], 0, "test/cat: x\\xff.png"),
        (["--sha256", "7" * 64], exits.NOTHING_FOUND, "No dataset that could be searched"),
        (["--image", __file__], exits.NOTHING_FOUND, "is not an image"),
        (["--image", "missing.png"], 2, "there is no such file"),
        (["--image", "."], 2, "that is a folder"),
        (["--sha256", "abc"], 2, "expected 64 hexadecimal digits"),
        (["run-a", "--span", "1"], 2, "one of REF, --span"),
        (["run-a", "--version", "1"], 2, "name that, too"),
        ([], 2, "one of REF, --span"),
    ],
)
def test_the_command(store: Store, cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli("lineage", "affected", *arguments, "--metadata", store.path)
    assert done.returncode == code
    assert said in " ".join((done.stdout + done.stderr).split(" "))
    assert "Traceback" not in done.stderr


def test_the_models_of_a_demo_image(demo: Demo, cli: Cli) -> None:
    image = min(demo.images.glob("7/*.png"))
    done = cli("lineage", "affected", "--image", image, "--output", demo.workspace)
    assert done.returncode == 0, done.stderr
    assert f"7/{image.name}" in done.stdout
    assert "digits-keras@1\tlatest" in done.stdout
    assert "digits-pytorch@1\tlatest" in done.stdout
    kept = cli("lineage", "affected", "--image", demo.kept[0], "--output", demo.workspace)
    assert kept.returncode == exits.NOTHING_FOUND
