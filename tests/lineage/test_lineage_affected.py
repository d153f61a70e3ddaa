"""What was built on some data: reuse, baselines, judges, serving; both readers agree."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from conftest import Cli, Demo
from lineage_store import STOCK, Builder, BuiltRun
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader

from common.errors import CannotTellError, Exit, NotFoundError
from components.example_gen.image_index import IMAGES_FILE, IndexedImage, to_lines
from lineage.questions.affected import Affected, affected_by, affected_by_span
from lineage.questions.affected_images import AffectedImages, affected_by_images
from lineage.store.connection import Connection
from lineage.store.reader import Reader

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
    return {"ImageExampleGen.examples": {"dataset_digest": digest, "span": span, "image_count": 1}}


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
    assert [(m.headline_value, m.pushed) for m in found.models] == [
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
                "ArrayGen.arrays",
                "Evaluator.blessing",
            )
        ),
    ],
)
def test_everything_that_means_the_data(store: Store, ref: str) -> None:
    if ref.startswith("a:"):
        ref = str(store.a.artifacts[ref.removeprefix("a:")])
    assert told(affected_by(store.reader(), ref)) == ON_A


def uses(found: AffectedImages, image: int = 0) -> dict[str, str]:
    """What models did with an image, by their runs."""
    runs = {m.artifact_id: str(m.run_id) for m in found.models}
    return {runs[u.model_id]: u.use for u in found.images[image].uses}


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_an_image_is_found_by_content(store: Store, via: Via) -> None:
    reader = store.reader(via)
    found = affected_by_images(reader, {SHA: "x.png"})
    assert not found.unsearched and found.searched == {"index": 2}
    (image,) = found.images
    (ingested,) = image.ingested
    assert (ingested.path, ingested.label, ingested.split) == ("x\\xff.png", "cat", "test")
    # Built on the data and judged by it; and of other data, but judged by it.
    assert uses(found) == {"run-a2": "judged", "run-a": "judged", "run-b": "judged"}
    assert [(v.name, v.version) for v in found.versions] == [
        ("digits-keras", 2),
        ("digits-keras", 1),
        ("other", 1),
    ]
    trained = affected_by_images(reader, {"6" * 64: None})
    assert uses(trained) == {"run-b": "trained"}
    nowhere = affected_by_images(reader, {"7" * 64: None})
    assert (nowhere.data, nowhere.model_count) == ((), 0)
    assert nowhere.images[0].state == "nowhere" and not nowhere.cannot_tell
    both = affected_by_images(reader, {SHA: None, "6" * 64: None, "7" * 64: None})
    assert uses(both, 0) == uses(found) and uses(both, 1) == uses(trained)
    assert [i.state for i in both.images] == ["found", "found", "nowhere"]


@pytest.mark.parametrize(
    ("split", "judged_on", "use"),
    [
        ("train", ["test"], "trained"),
        ("val", ["test"], "selected"),
        ("val", ["val"], "selected"),
        ("test", ["test"], "judged"),
        ("test", None, "judged"),
        ("test", ["val"], "unused"),
    ],
)
def test_each_split_is_another_use(
    tmp_path: Path, split: str, judged_on: list[str] | None, use: str
) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    judge = {} if judged_on is None else {"Evaluator": {"example_splits": judged_on}}
    run = builder.run("run-1", properties=judge)
    index(builder, run, [IndexedImage(SHA, split, "cat", b"x.png")])
    found = affected_by_images(reader_of(tmp_path), {SHA: None})
    assert uses(found) == {"run-1": use}


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"train": "trained", "eval": "unknown", "test": "judged"}),
        (
            {"train_args": {"splits": ["a", "b"]}, "eval_args": {"splits": ["train"]}},
            {"train": "unknown", "a": "trained", "b": "trained", "test": "judged"},
        ),
    ],
)
def test_a_training_of_another_pipeline(
    tmp_path: Path, arguments: dict[str, object], expected: dict[str, str]
) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    run = builder.run("run-1", components=STOCK, foreign=True, properties={"Trainer": arguments})
    shas = {split: f"{n:064x}" for n, split in enumerate(expected)}
    for split, sha in shas.items():
        write_records(examples(builder, run), split, [{"image/sha256": sha.encode()}])
    found = affected_by_images(reader_of(tmp_path), dict.fromkeys(shas.values()))
    assert {split: uses(found, n)["run-1"] for n, split in enumerate(expected)} == expected
    assert found.searched == {"records": 1}


def test_weights_hand_on_what_they_were_trained_on(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    base = builder.run("base", version=1)
    served = tmp_path / "serving" / "digits-keras" / "1" / "native"
    elsewhere = {"Trainer": {"config": {"pretrained": "/weights/of/somebody.safetensors"}}}
    for run_id, pretrained in (("tuned", str(served)), ("again", "serving/digits-keras/2/native")):
        builder.run(
            run_id,
            version=2 if run_id == "tuned" else 3,
            properties={"Trainer": {"hyper_parameters": {"pretrained": pretrained}}},
            run_properties={"directory": str(tmp_path)},
        )
    teacher = {"model": "serving/digits-keras/1", "alpha": 0.5, "temperature": 2.0}
    builder.run(
        "taught",
        version=5,
        properties={"Trainer": {"hyper_parameters": {"pretrained": None, "distillation": teacher}}},
        run_properties={"directory": str(tmp_path)},
    )
    other = builder.run("other", version=4, properties=elsewhere)
    index(builder, base, [IndexedImage(SHA, "train", "cat", b"x.png")])
    found = affected_by_images(reader_of(tmp_path), {SHA: None})
    assert uses(found) == dict.fromkeys(("base", "tuned", "again", "taught"), "trained")
    model = other.artifacts["Trainer.model"]
    assert found.foreign_weights == {model: "/weights/of/somebody.safetensors"}


def reader_of(folder: Path, via: Via = "sql") -> Reader:
    return open_reader(Connection.parse(str(folder / "metadata.sqlite")), via)


def examples(builder: Builder, run: BuiltRun) -> Path:
    (found,) = builder.store.get_artifacts_by_id([run.artifacts["ImageExampleGen.examples"]])
    return Path(found.uri)


def write_records(
    folder: Path, split: str, records: list[dict[str, bytes]], name: str = "data-00000-of-00001"
) -> Path:
    """A split of a dataset, as TFX writes it."""
    import tensorflow as tf

    (folder / f"Split-{split}").mkdir(parents=True, exist_ok=True)
    path = folder / f"Split-{split}" / f"{name}.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            features = {
                k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v]))
                for k, v in record.items()
            }
            features["n"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[1, -1]))
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return path


PNG = b"\x89PNG\r\n\x1a\n and more"


def stock_store(tmp_path: Path) -> tuple[Builder, Path]:
    """Of ImportExampleGen: no report, and no property of ours."""
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    run = builder.run("run-1", components=STOCK, foreign=True)
    folder = examples(builder, run)
    write_records(folder, "eval", [{"image": PNG + b"2", "label": b"dog"}])
    write_records(folder, "train", [{"image": PNG, "label": b"cat"}, {"image": PNG + b"1"}])
    return builder, folder


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_the_records_of_a_stock_pipeline_are_searched(tmp_path: Path, via: Via) -> None:
    stock_store(tmp_path)
    sha = hashlib.sha256(PNG).hexdigest()
    found = affected_by_images(reader_of(tmp_path, via), {sha: None, "7" * 64: None})
    assert uses(found) == {"run-1": "trained"} and found.searched == {"records": 1}
    assert [(i.split, i.label) for i in found.images[0].ingested] == [("train", "cat")]
    assert [i.state for i in found.images] == ["found", "nowhere"]


def _pixels(folder: Path) -> None:
    write_records(folder, "train", [{"image": PNG}, {"pixels": bytes(12)}])


def _cut(folder: Path) -> None:
    path = folder / "Split-train" / "data-00000-of-00001.gz"
    path.write_bytes(path.read_bytes()[:-9])


def _garbage(folder: Path) -> None:
    (folder / "Split-train" / "data-00000-of-00001.gz").write_bytes(b"no TFRecord, and long enough")


def _shard_lost(folder: Path) -> None:
    write_records(folder, "train", [{"image": PNG}], "more-00000-of-00002")


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_pixels, "hold no image files"),
        (_cut, "cannot be read"),
        (_garbage, "cannot be read"),
        (_shard_lost, "files of"),
        (_gone, "files are not there"),
    ],
)
def test_records_that_cannot_be_searched_are_not_a_no(
    tmp_path: Path, cli: Cli, harm: Callable[[Path], None], why: str
) -> None:
    _, folder = stock_store(tmp_path)
    harm(folder)
    found = affected_by_images(reader_of(tmp_path), {"7" * 64: None})
    (unsearched,) = found.unsearched
    assert why in unsearched.records and unsearched.index == "not recorded"
    assert found.images[0].state == "cannot tell" and found.cannot_tell
    store = ("--metadata", tmp_path / "metadata.sqlite")
    done = cli("lineage", "affected", "--sha256", "7" * 64, *store)
    assert done.returncode == Exit.CANNOT_TELL
    assert "cannot be told" in done.stdout and why in done.stdout


def test_datasets_that_cannot_be_searched_are_listed(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    counted = {"ImageExampleGen.examples": {"image_count": 1}}
    runs = [builder.run(f"run-{n}", version=n, artifact_properties=counted) for n in range(1, 8)]
    for run in runs[:2]:
        index(builder, run, [IndexedImage(SHA, "train", "cat", b"x.png")])
    (report(builder, runs[1]) / IMAGES_FILE).write_text("damaged\n")
    shutil.rmtree(report(builder, runs[2]))
    (deleted,) = builder.store.get_artifacts_by_id([runs[3].artifacts["ImageExampleGen.report"]])
    deleted.state = mlmd.Artifact.DELETED
    builder.store.put_artifacts([deleted])
    index(builder, runs[5], [])  # cut off
    (bucket,) = builder.store.get_artifacts_by_id([runs[6].artifacts["ImageExampleGen.report"]])
    bucket.uri = "gs://bucket/report"
    builder.store.put_artifacts([bucket])
    found = affected_by_images(reader_of(tmp_path), {SHA: None, "7" * 64: None})
    assert [m.run_id for m in found.models] == ["run-1"]
    assert [u.index for u in found.unsearched] == [
        *("unreadable", "gone", "deleted", "older", "unreadable", "elsewhere")
    ]
    assert [i.state for i in found.images] == ["found", "cannot tell"] and not found.cannot_tell


@pytest.mark.usefixtures("heavy")
def test_without_its_index_a_dataset_is_searched_by_its_records(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    run = builder.run("run-1", artifact_properties={"ImageExampleGen.examples": {"image_count": 2}})
    records = [{"image/sha256": SHA.encode(), "label": b"cat", "image/path": b"x\xff.png"}]
    write_records(examples(builder, run), "val", [*records, {"image/sha256": b"8" * 64}])
    found = affected_by_images(reader_of(tmp_path), {SHA: None})
    assert uses(found) == {"run-1": "selected"}
    assert [i.path for i in found.images[0].ingested] == ["x\\xff.png"]
    write_records(examples(builder, run), "val", records)  # one is lost
    (unsearched,) = affected_by_images(reader_of(tmp_path), {"7" * 64: None}).unsearched
    assert "1 records; 2 were made" in unsearched.records


def test_models_and_reports_without_their_data_are_not_a_no(tmp_path: Path, cli: Cli) -> None:
    """As in a store that only a part was imported into."""
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    model = builder.artifact("Model", str(tmp_path / "model"), {})
    lost = builder.artifact("IngestionReport", str(tmp_path / "report"), {})
    (tmp_path / "report" / IMAGES_FILE).write_bytes(
        to_lines([IndexedImage(SHA, "train", "cat", b"x.png")])
    )
    found = affected_by_images(reader_of(tmp_path), {SHA: None})
    assert found.unknown_models == (model,) and found.images[0].state == "found"
    assert [(d.artifact_id, d.type) for d in found.data] == [(lost, "IngestionReport")]
    for sha in (SHA, "7" * 64):
        done = cli(
            *("lineage", "affected", "--sha256", sha, "--metadata", tmp_path / "metadata.sqlite")
        )
        assert done.returncode == Exit.CANNOT_TELL, done.stdout
        assert f"what they were made from: {model}" in done.stdout


@pytest.mark.parametrize(
    ("source", "image", "where", "holds"),
    [
        ("data", b"cat/1.png", "data/cat/1.png", "pixels"),
        ("data/list.csv", b"cat/1.png", "data/cat/1.png", "pixels"),
        ("data", b"train.parquet#17", "data/train.parquet", "maybe"),
        ("data/train.parquet", b"train.parquet#17", "data/train.parquet", "maybe"),
        ("data/toy.zip", b"toy/cat/9.png", "data/toy.zip", "maybe"),
        ("data", b"toy/cat/9.png", "data/toy.zip", "maybe"),
        ("data", b"gone.parquet#3", None, ""),
    ],
)
def test_where_the_ingested_image_lies(
    tmp_path: Path, source: str, image: bytes, where: str | None, holds: str
) -> None:
    (tmp_path / "data/cat").mkdir(parents=True)
    for name in ("cat/1.png", "list.csv", "train.parquet", "toy.zip"):
        (tmp_path / "data" / name).write_bytes(b"an image")
    if where is None:
        (tmp_path / "data/toy.zip").unlink()
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    properties = {"ImageExampleGen": {"resolved_path": str(tmp_path / source)}}
    run = builder.run("run-a", version=1, properties=properties)
    sha256 = hashlib.sha256(b"an image").hexdigest()
    index(builder, run, [IndexedImage(sha256, "train", "cat", image)])
    found = affected_by_images(reader_of(tmp_path), {sha256: None})
    copies = [(c.where, c.holds) for c in found.copies if c.kind == "source"]
    assert copies == ([(str(tmp_path / where), holds)] if where else [])


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


def test_a_digest_and_a_span_that_other_pipelines_record_otherwise(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    spans = {"ImageExampleGen.examples": {"span": "3"}}  # as text, by older versions of TFX
    builder.run("run-1", components=STOCK, foreign=True, artifact_properties=spans)
    reader = reader_of(tmp_path)
    assert [m.run_id for m in affected_by_span(reader, 3).models] == ["run-1"]
    with pytest.raises(CannotTellError, match="1 of them record none"):
        affected_by(reader, "a" * 64)


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
        (["--sha256", "7" * 64], Exit.NOTHING_FOUND, "None of the 2 datasets that could be"),
        (["--sha256", "7" * 64, "--sha256", SHA], 0, "only judged by 1"),
        (["--image", __file__], Exit.NOTHING_FOUND, "is not an image"),
        (["--image", "missing.png"], 2, "there is no such file"),
        (["--image", "empty"], 2, "expected images in the folder"),
        (["--images-from", "missing.txt"], 2, "cannot read 'missing.txt'"),
        (["--images-from", "empty/list"], 2, "names no file"),
        (["--images-from", __file__], 2, "there is no such file"),
        (["--sha256", "abc"], 2, "expected 64 hexadecimal digits"),
        (["run-a", "--span", "1"], 2, "one of REF, --span"),
        (["run-a", "--version", "1"], 2, "name that, too"),
        ([], 2, "one of REF, --span"),
    ],
)
def test_the_command(store: Store, cli: Cli, arguments: list[str], code: int, said: str) -> None:
    (store.path.parent / "empty").mkdir(exist_ok=True)
    (store.path.parent / "empty" / "list").touch()
    done = cli(
        *("lineage", "affected", *arguments, "--metadata", store.path), cwd=store.path.parent
    )
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
    assert kept.returncode == Exit.NOTHING_FOUND


def test_many_images_of_a_demo_and_where_they_lie(demo: Demo, cli: Cli, tmp_path: Path) -> None:
    """A verdict for each image and model; named by a folder and by a list with odd names."""
    odd = tmp_path / "a\nb.png"
    shutil.copy(min(demo.images.glob("3/*.png")), odd)
    names = tmp_path / "names"
    names.write_bytes(f"{odd}\0{demo.kept[0]}\0".encode())
    done = cli(
        *("lineage", "affected", "--image", demo.images / "7", "--images-from", names),
        *("--output", demo.workspace, "--json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    states = [i["state"] for i in found["images"]]
    assert states == ["found"] * (len(states) - 1) + ["nowhere"]
    assert len(states) == len(list((demo.images / "7").iterdir())) + 2
    expected = {"train": {"trained"}, "val": {"selected"}, "test": {"judged"}}
    by_split: dict[str, set[str]] = {}
    for image in found["images"]:
        for split in {i["split"] for i in image["ingested"]}:
            by_split.setdefault(split, set()).update(u["use"] for u in image["uses"])
    assert by_split == expected
    places = {c["kind"]: c for c in found["copies"]}
    assert {"source", "examples", "arrays", "report"} == places.keys()
    assert all(Path(c["where"]).exists() for c in found["copies"])
