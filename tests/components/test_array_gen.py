"""The transform graph as an artifact, and the arrays that it makes of raw examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from odd_images import encode, lossless_jpeg, smooth
from raw_examples import CLASSES, SIZE, pictures, schema_of_raw_examples, write
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

import tensorflow as tf  # isort: skip
import tensorflow_transform as tft  # isort: skip

from common.errors import DataError
from components import schema as schemas
from components.array_gen import arrays
from components.array_gen.arrays import write_arrays
from components.array_gen.component import ArrayGen
from components.artifacts import IngestionReport
from components.example_gen import reading
from components.example_gen.component import ImageExampleGen
from components.example_gen.config import DataConfig
from components.schema_gen import SchemaGen
from components.statistics import StatisticsGen
from components.transform import graph
from components.transform.component import Transform
from components.transform.executor import Executor, write_graph
from components.transform.vocabulary import class_names
from modelstore import raw_example as features
from trainers.arrays import IMAGES, LABELS
from trainers.data import Split
from trainers.decoder import Decoder

pytestmark = pytest.mark.pipelines

SORTED = ("Dog", "a cat", "cat", "žába")
BROKEN = lossless_jpeg(smooth()[..., 0])


@pytest.fixture(scope="module", params=["crop", "pad", "stretch"])
def resize(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, resize: str) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    write_graph(folder, schema_of_raw_examples(), CLASSES, SIZE, resize)
    return folder


def test_the_graph_is_laid_out_as_by_tfx(made):
    read = tft.TFTransformOutput(str(made))
    assert read.vocabulary_by_name("label_vocabulary") == [n.encode() for n in SORTED]
    assert read.raw_feature_spec().keys() == {f.name for f in schema_of_raw_examples().feature}
    domain = {f.name: f for f in read.transformed_metadata.schema.feature}[graph.LABEL].int_domain
    assert (domain.min, domain.max, domain.is_categorical) == (-1, 3, True)
    assert class_names(made) == SORTED


def test_it_gives_the_bytes_of_decode_and_indices_by_name(made, resize):
    images = [*pictures(9), ("unseen", b"x", encode("PNG", smooth()))]
    inputs = {
        name: tf.fill(
            [len(images), 1], tf.constant("" if spec.dtype == tf.string else 0, spec.dtype)
        )
        for name, spec in tft.TFTransformOutput(str(made)).raw_feature_spec().items()
        if name != "camera"
    }
    inputs[features.ENCODED] = tf.constant([[data] for _, _, data in images])
    inputs[features.LABEL] = tf.constant([[label] for label, _, _ in images])
    inputs["camera"] = tf.sparse.from_dense(tf.fill([len(images), 1], ""))
    outputs = tf.saved_model.load(str(made / "transform_fn")).transform_fn(inputs)
    expected = [graph.decode(tf.constant(d), *SIZE, resize).numpy().tobytes() for _, _, d in images]
    assert list(outputs[graph.IMAGE].numpy()) == expected
    known = [SORTED.index(label) for label, _, _ in images[:-1]]
    assert list(outputs[graph.LABEL].numpy()) == [*known, -1]


@pytest.mark.parametrize(("batch", "cpus", "files"), [(32, 2, 1), (3, 1, 1), (2, 7, 3)])
def test_arrays_are_the_examples_in_order_whatever_the_parallelism(
    made, resize, tmp_path, monkeypatch, batch, cpus, files
):
    images = pictures(23)
    images[5] = ("unseen", *images[5][1:])
    monkeypatch.setattr(arrays, "_BATCH", batch)
    monkeypatch.setattr(arrays, "available_cpus", lambda: cpus)
    target = tmp_path / "arrays"
    target.mkdir()
    write_arrays(write(tmp_path / "Split-train", images, files), Decoder(made, SIZE), target)
    split = Split.open(target)
    del images[5]
    assert split.images_NHW3.shape == (22, *SIZE, 3) and split.labels_N.dtype == np.int64
    assert list(split.labels_N) == [SORTED.index(label) for label, _, _ in images]
    for (_, _, data), image in zip(images, split.images_NHW3, strict=True):
        np.testing.assert_array_equal(image, graph.decode(tf.constant(data), *SIZE, resize))
    assert {p.name for p in target.iterdir()} == {IMAGES, LABELS}


def test_images_of_a_size_that_fills_the_memory_come_one_at_a_time(made, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_BATCH_BYTES", 1)
    sizes = []
    original = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda parts: sizes.extend(map(len, parts)) or original(parts)
    )
    write_arrays(write(tmp_path / "Split-val", pictures(4)), Decoder(made, SIZE), tmp_path)
    assert sizes == [1, 1, 1, 1]


def test_a_split_without_an_image_to_train_on_is_refused_and_leaves_nothing(made, tmp_path):
    decoder = Decoder(made, SIZE)
    unseen = [("mouse", path, data) for _, path, data in pictures(2)]
    (tmp_path / "arrays").mkdir()
    for folder in (write(tmp_path / "Split-val", []), write(tmp_path / "x/Split-val", unseen)):
        with pytest.raises(DataError, match="The split 'val' has no image to train or validate on"):
            write_arrays(folder, decoder, tmp_path / "arrays")
    assert not list((tmp_path / "arrays").iterdir())


def test_the_first_image_that_cannot_be_decoded_is_named(made, tmp_path):
    images = pictures(6)
    images[4:] = [("cat", b"cat/\xff.jpg", BROKEN), ("cat", b"cat/z.jpg", BROKEN)]
    (tmp_path / "arrays").mkdir()
    with pytest.raises(DataError) as e:
        write_arrays(
            write(tmp_path / "Split-val", images), Decoder(made, SIZE), tmp_path / "arrays"
        )
    assert str(e.value).startswith("cat/\\xff.jpg: expected an image that TensorFlow decodes")
    assert not list((tmp_path / "arrays").iterdir())


def test_classes_are_those_of_the_train_images_whatever_a_frozen_schema_has(tmp_path):
    """One more or less than in the schema is trained on if it was accepted."""
    schema = schema_of_raw_examples()
    schema.string_domain.add(name=features.LABEL, value=["vanished", "cat"])
    schemas.feature(schema, features.LABEL).domain = features.LABEL
    given = {"schema": standard_artifacts.Schema(), "report": IngestionReport()}
    made = standard_artifacts.TransformGraph()
    for name, artifact in {**given, "graph": made}.items():
        artifact.uri = str(tmp_path / name)
        Path(artifact.uri).mkdir()
    (tmp_path / "schema/schema.pbtxt").write_text(str(schema))
    report = {"splits": {"train": {"classes": {"zebra": 1, "cat": 9}}, "val": {"classes": {}}}}
    (tmp_path / "report/report.json").write_text(json.dumps(report))
    config = {"image_size": SIZE, "resize": "crop"}
    Executor().Do(
        {k: [v] for k, v in given.items()},
        {"transform_graph": [made]},
        {"custom_config": json.dumps(config)},
    )
    assert class_names(Path(made.uri)) == ("cat", "zebra")


def test_a_run_ends_with_the_name_of_an_image_and_without_its_bytes(tmp_path, monkeypatch):
    """As if ingestion let it pass."""
    for n in range(24):
        path = tmp_path / "data" / ("cat", "dog")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode("PNG", smooth()[:, : 10 + n // 2]))
    checked = reading.check_image

    def without_a_check(data, **options):
        image = checked(data, **options)
        if image.width == 15:
            object.__setattr__(image, "encoded", BROKEN)
        return image

    monkeypatch.setattr(reading, "check_image", without_a_check)
    examples = ImageExampleGen(DataConfig(path=str(tmp_path / "data")))
    statistics = StatisticsGen(examples.outputs["examples"])
    schema = SchemaGen(statistics.outputs["statistics"])
    transform = Transform(
        schema=schema.outputs["schema"],
        report=examples.outputs["report"],
        image_size=SIZE,
        resize="stretch",
        code_digest="",
    )
    array_gen = ArrayGen(
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        image_size=SIZE,
        code_digest="",
    )
    store = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    nodes = [examples, statistics, schema, transform, array_gen]
    with pytest.raises(DataError) as e:
        LocalDagRunner().run(
            pipeline.Pipeline(
                "t", str(tmp_path / "out"), components=nodes, metadata_connection_config=store
            )
        )
    said = str(e.value)
    report = json.loads(next(Path(tmp_path, "out").rglob("report.json")).read_text())
    assert report["images"] == 24
    assert said.startswith(("cat/10.png", "dog/11.png")) and "\\x" not in said
    assert "remove it or save it anew" in said and "\n" not in said
