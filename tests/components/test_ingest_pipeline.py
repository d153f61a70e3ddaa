"""Ingestion, statistics, schema and validation run for real, on TFX and MLMD."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ingested import ingest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from PIL import Image
from tfx.components.example_gen import utils as tfx_utils
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

import tensorflow as tf  # isort: skip
from tfx_bsl.tfxio import dataset_options, tensor_adapter, tf_example_record  # isort: skip

from common.errors import ConfigError, DataError
from components import schema as schemas
from components.artifacts import IngestionReport
from components.example_gen import spans
from components.example_gen.component import ImageExampleGen
from components.example_gen.config import DataConfig, to_json
from components.example_gen.driver import BEAM
from components.example_gen.executor import Executor
from components.example_gen.image_index import IMAGES_FILE, from_line
from components.example_gen.resolve import resolve
from components.example_validator import ExampleValidator
from components.schema_gen import SchemaGen
from components.statistics import StatisticsGen
from components.transform.vocabulary import class_names
from modelstore import raw_example as features
from trainers.classes import NeededClasses

PER_CLASS = 20


def save(path, shade, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, shade // 256, len(path.parent.name))).save(path)


def two_classes(root, per_class=PER_CLASS):
    for label in ("cat", "žába"):
        for n in range(per_class):
            save(root / label / f"{n}.png", n)
    return root


def run(root, nodes):
    """Runs TFX nodes with the metadata store of `root`."""
    LocalDagRunner().run(
        pipeline.Pipeline(
            "test",
            str(root),
            components=nodes,
            enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(root / "metadata.sqlite")
            ),
        )
    )


def store_of(root):
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(root / "metadata.sqlite")
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    return metadata_store.MetadataStore(config)


def ingestions(root):
    """States of the executions of ImageExampleGen, in order."""
    store = store_of(root)
    (kind,) = [t.name for t in store.get_execution_types() if t.name.endswith("ImageExampleGen")]
    executions = sorted(store.get_executions_by_type(kind), key=lambda e: e.id)
    names = mlmd.Execution.State.Name
    return [names(e.last_known_state) for e in executions]


def the_artifact(root, kind):
    return max(store_of(root).get_artifacts_by_type(kind), key=lambda a: a.id)


def examples_in(uri, split):
    files = sorted(str(p) for p in uri.glob(f"Split-{split}/*"))
    assert all(os.path.basename(f).startswith("data_tfrecord-") for f in files)
    for payload in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        yield tf.train.Example.FromString(payload).features.feature


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A run over good and bad images; 42 files of images, 1 of them unusable."""
    tmp = tmp_path_factory.mktemp("first")
    data, root = two_classes(tmp / "data"), tmp / "root"
    root.mkdir()
    save(data / "cat" / "big.bmp", 7, size=(50, 40))
    (data / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (data / "cat" / "notes.txt").write_bytes(b"not an image")
    shutil.copy(data / "žába/0.png", data / "žába/copy of 0.png")
    examples = ImageExampleGen(DataConfig(path=str(data)))
    statistics = StatisticsGen(examples.outputs["examples"])
    schema = SchemaGen(statistics.outputs["statistics"])
    validator = ExampleValidator(
        statistics.outputs["statistics"], schema.outputs["schema"], examples.outputs["report"]
    )
    run(root, [examples, statistics, schema, validator])
    uri = Path(the_artifact(root, "Examples").uri)
    schema_uri = the_artifact(root, "Schema").uri
    return SimpleNamespace(data=data, root=root, uri=uri, schema_uri=schema_uri)


def test_raw_examples(first_run):
    counts = Counter()
    for split in ("train", "val", "test"):
        for values in examples_in(first_run.uri, split):
            counts[split] += 1
            assert set(values) == features.RESERVED
            image = tf.io.decode_image(values[features.ENCODED].bytes_list.value[0]).numpy()
            numbers = (features.HEIGHT, features.WIDTH, features.CHANNELS)
            assert image.shape == tuple(values[n].int64_list.value[0] for n in numbers)
            path = values[features.PATH].bytes_list.value[0].decode()
            assert values[features.LABEL].bytes_list.value[0].decode() == path.split("/")[0]
            on_disk = (first_run.data / path).read_bytes()
            assert values[features.BYTES].int64_list.value[0] == len(on_disk)
    assert counts.total() == 42 and min(counts.values()) >= 1


def report_of(root):
    uri = the_artifact(root, IngestionReport.TYPE_NAME).uri
    return json.loads(Path(uri, "report.json").read_text())


def test_report_and_quarantine(first_run):
    uri = Path(the_artifact(first_run.root, IngestionReport.TYPE_NAME).uri)
    report = report_of(first_run.root)
    assert report["images"] == 42 and report["classes"] == ["cat", "žába"]
    assert sum(s["images"] for s in report["splits"].values()) == 42
    assert report["ignored"] == {"*.txt": 1} and report["normalised"] == {"bmp": 1}
    assert report["formats"] == {"png": 42}
    assert report["width"] == {"min": 8, "max": 50}
    assert report["duplicates"]["copies"] == 1
    assert report["duplicates"]["across_splits"]["count"] == 0
    assert (report["span"], report["version"], report["path"]) == (0, None, str(first_run.data))
    assert report["quarantined"]["count"] == 1
    (line,) = (uri / "quarantine.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == "cat/broken.jpg"


def index_of(report):
    return [from_line(line) for line in Path(report, IMAGES_FILE).read_bytes().splitlines()]


def placed(uri):
    """(SHA-256, split, label, path) of every example, sorted."""
    found = []
    for split in ("train", "val", "test"):
        for values in examples_in(uri, split):
            sha256, label, path = (
                values[n].bytes_list.value[0]
                for n in (features.SHA256, features.LABEL, features.PATH)
            )
            found.append((sha256.decode(), split, label.decode(), path))
    return sorted(found)


def test_index_of_images(first_run):
    index = index_of(the_artifact(first_run.root, IngestionReport.TYPE_NAME).uri)
    assert [(i.sha256, i.split, i.label, i.path) for i in index] == placed(first_run.uri)
    for image in index:  # of the files as they are on disk, the normalised BMP's too
        content = (first_run.data / os.fsdecode(image.path)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == image.sha256


def test_examples_artifact(first_run):
    artifact = the_artifact(first_run.root, "Examples")
    values = artifact.custom_properties
    assert json.loads(artifact.properties["split_names"].string_value) == ["train", "val", "test"]
    assert values["span"].int_value == 0 and "version" not in values
    assert values["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
    assert values["file_format"].string_value == "tfrecords_gzip"
    assert (values["image_count"].int_value, values["class_count"].int_value) == (42, 2)
    assert values["depth"].int_value == 16
    digest = values["dataset_digest"].string_value
    assert len(digest) == 64 and digest == report_of(first_run.root)["dataset_digest"]
    fingerprint = resolve(to_json(DataConfig(path=str(first_run.data))))["input_fingerprint"]
    assert values["input_fingerprint"].string_value == fingerprint != digest


def test_schema(first_run):
    schema = schemas.read(first_run.schema_uri)
    assert {f.name for f in schema.feature} == features.RESERVED
    assert schemas.classes(schema) == ["cat", "žába"]
    counts = Counter(
        v[features.LABEL].bytes_list.value[0].decode() for v in examples_in(first_run.uri, "train")
    )
    assert schemas.class_counts(schema) == counts
    assert sum(schemas.shares(schemas.class_counts(schema)).values()) == pytest.approx(1)


def test_transform_can_read_raw_examples_with_the_schema(first_run):
    tfxio = tf_example_record.TFExampleRecord(
        str(first_run.uri / "Split-train" / "*"), schema=schemas.read(first_run.schema_uri)
    )
    options = dataset_options.RecordBatchesOptions(batch_size=4, num_epochs=1)
    batch = next(iter(tfxio.RecordBatches(options)))
    adapter = tensor_adapter.TensorAdapter(tfxio.TensorAdapterConfig())
    tensors = adapter.ToBatchTensors(batch)
    assert set(tensors) == features.RESERVED
    assert all(tensor.shape == (4, 1) for tensor in tensors.values())


def test_cache_follows_content_and_not_times(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    nodes = [ImageExampleGen(DataConfig(path=str(data)))]
    run(tmp_path, nodes)
    os.utime(data / "cat/1.png", (1, 1))
    run(tmp_path, nodes)
    save(data / "cat/1.png", 999)
    run(tmp_path, nodes)
    assert ingestions(tmp_path) == ["COMPLETE", "CACHED", "COMPLETE"]


def test_missing_data_stops_before_the_cache_is_looked_up(first_run, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        run(tmp_path, [ImageExampleGen(DataConfig(path=str(tmp_path / "nowhere")))])


def test_failed_ingestion_leaves_no_examples(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    (data / "cat/1.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 40 images are unusable"):
        run(
            tmp_path,
            [ImageExampleGen(DataConfig(path=str(data), max_quarantine_fraction=0.0))],
        )
    assert ingestions(tmp_path) == ["FAILED"]
    assert not list((tmp_path / "ImageExampleGen").rglob("data_tfrecord*"))


def test_latest_span_is_read_and_recorded(first_run, tmp_path):
    for span in (3, 12):
        two_classes(tmp_path / f"span-{span}" / "v-7", per_class=PER_CLASS - span)
    nodes = [ImageExampleGen(DataConfig(path=f"{tmp_path}/span-{{SPAN}}/v-{{VERSION}}"))]
    run(tmp_path, nodes)
    values = the_artifact(tmp_path, "Examples").custom_properties
    assert (values["span"].int_value, values["version"].int_value) == (12, 7)
    assert values["image_count"].int_value == 2 * (PER_CLASS - 12)


@pytest.mark.parametrize(
    "pattern", ["span-{SPAN}/v-{VERSION}/*", "p/{SPAN:4}/*", "d/{YYYY}{MM}{DD}/*"]
)
def test_spans_are_those_of_tfx(first_run, tmp_path, pattern):
    for name in ("span-2/v-9", "span-2/v-10", "span-10/v-1", "p/0002", "p/0010", "d/20261123"):
        save(tmp_path / name / "1.png", 1)
    split = example_gen_pb2.Input.Split(name="all", pattern=pattern)
    _, span, version = tfx_utils.calculate_splits_fingerprint_span_and_version(
        str(tmp_path), [split]
    )
    ours = spans.resolve(f"{tmp_path}/{pattern.removesuffix('/*')}")
    assert (ours.span, ours.version) == (span, version)
    assert ours.path == f"{tmp_path}/{split.pattern.removesuffix('/*')}"


def test_validator_stops_at_a_new_class_until_accepted(first_run, tmp_path):
    frozen = schemas.freeze(first_run.schema_uri, str(tmp_path))
    data = two_classes(tmp_path / "data")
    for n in range(PER_CLASS):
        save(data / "mouse" / f"{n}.png", n)

    def validate(accepted):
        # New nodes each time: TFX finds earlier validators through shared ones.
        examples = ImageExampleGen(DataConfig(path=str(data)))
        statistics = StatisticsGen(examples.outputs["examples"])
        schema = ImportSchemaGen(schema_file=frozen)
        validator = ExampleValidator(
            statistics.outputs["statistics"],
            schema.outputs["schema"],
            examples.outputs["report"],
            accepted,
        )
        run(tmp_path, [examples, statistics, schema, validator])

    with pytest.raises(DataError) as e:
        validate([])
    message = str(e.value)
    assert "label: class 'mouse'" in message and "accept as 'unseen-class'" in message
    assert "accept as 'class-balance'" in message and "split train" in message
    with pytest.raises(DataError, match="class-balance"):
        validate(["unseen-class"])
    validate(["unseen-class", "class-balance"])
    uri = the_artifact(tmp_path, "ExampleAnomalies").uri
    assert os.path.getsize(os.path.join(uri, "Split-train", "SchemaDiff.pb")) > 0


def test_validator_stops_at_images_under_two_labels_until_accepted(tmp_path):
    data = two_classes(tmp_path / "data")
    for n in range(3):
        shutil.copy(data / f"cat/{n}.png", data / f"žába/copy of {n}.png")
        save(data / "copies" / f"{n}.png", n)
        shutil.copy(data / f"žába/{n + 5}.png", data / f"copies/{n}.png")

    def validate(accepted=(), **threshold):
        examples = ImageExampleGen(DataConfig(path=str(data)))
        statistics = StatisticsGen(examples.outputs["examples"])
        schema = SchemaGen(statistics.outputs["statistics"])
        outputs = (statistics.outputs["statistics"], schema.outputs["schema"])
        validator = ExampleValidator(*outputs, examples.outputs["report"], accepted, **threshold)
        run(tmp_path, [examples, statistics, schema, validator])

    with pytest.raises(DataError) as e:
        validate()
    message = str(e.value)
    assert "12 of 46 images are there under more than one label, more than 5.0%" in message
    assert "such as cat/0.png (cat) and žába/copy of 0.png (žába)" in message
    assert "accept as 'conflicting-labels'" in message
    assert "every image of class 'copies' is there under another label too" in message
    with pytest.raises(DataError, match="conflicting-labels"):
        validate(["copied-class"])
    validate(["copied-class", "conflicting-labels"])
    validate(["copied-class"], max_conflicting_fraction=0.3)
    uri = Path(the_artifact(tmp_path, "ExampleAnomalies").uri)
    assert b"copied-class" in (uri / "Split-train" / "SchemaDiff.pb").read_bytes()


def test_validator_stops_at_a_weight_of_no_class(tmp_path):
    examples = ImageExampleGen(DataConfig(path=str(two_classes(tmp_path / "data"))))
    statistics = StatisticsGen(examples.outputs["examples"])
    schema = SchemaGen(statistics.outputs["statistics"])
    validator = ExampleValidator(
        statistics.outputs["statistics"],
        schema.outputs["schema"],
        examples.outputs["report"],
        needed=NeededClasses(weights={"žaba": 2.0, "cat": 1.0}),
    )
    with pytest.raises(ConfigError, match=r"no class 'žaba' in the data\. Did you mean 'žába'\?"):
        run(tmp_path, [examples, statistics, schema, validator])


def test_class_without_train_images_stops_the_run_whatever_is_accepted(first_run, tmp_path):
    for split in ("train", "val", "test"):
        two_classes(tmp_path / "data" / split)
    save(tmp_path / "data" / "test" / "mouse" / "1.png", 1)
    examples = ImageExampleGen(DataConfig(path=str(tmp_path / "data")))
    statistics = StatisticsGen(examples.outputs["examples"])
    schema = SchemaGen(statistics.outputs["statistics"])
    validator = ExampleValidator(
        statistics.outputs["statistics"],
        schema.outputs["schema"],
        examples.outputs["report"],
        ["unseen-class", "label"],
    )
    with pytest.raises(
        DataError, match="'mouse' has images in the split 'test' and none in 'train'"
    ):
        run(tmp_path, [examples, statistics, schema, validator])


# The executor alone.


def test_manifest_with_extra_columns_missing_files_and_duplicates(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    shutil.copy(data / "cat/3.png", data / "žába/three.png")
    names = [f"{c}/{n}.png" for c in ("cat", "žába") for n in range(PER_CLASS)]
    lines = [f"data/{n},{n.split('/')[0]},train,left" for n in names]
    lines += ["data/žába/three.png,žába,test,right", "data/gone.png,cat,val,left"]
    manifest = tmp_path / "list.csv"
    manifest.write_text("\n".join(["path,label,split,camera", *lines]) + "\n")
    uri, report = ingest(tmp_path, path=str(manifest))
    assert report["extra_columns"] == ["camera"]
    assert report["quarantined"] == {"count": 1, "reasons": {"missing": 1}}
    (gone,) = (tmp_path / "out/report/quarantine.jsonl").read_text().splitlines()
    listed = f"list.csv, line {len(lines) + 1}; paths start from {tmp_path}"
    assert json.loads(gone)["detail"] == listed
    assert report["splits"]["test"]["images"] == 1 and report["splits"]["val"]["images"] > 0
    paths = ["data/cat/3.png", "data/žába/three.png"]
    assert report["duplicates"]["across_labels"]["first"] == [
        {"paths": paths, "in": ["cat", "žába"]}
    ]
    assert report["duplicates"]["across_splits"]["first"] == [
        {"paths": paths[::-1], "in": ["test", "train"]}
    ]
    assert report["notices"] == [
        "1 image is there under more than one label: data/cat/3.png (cat) and "
        "data/žába/three.png (žába).",
        "1 image is there under more than one split: data/žába/three.png (test) and "
        "data/cat/3.png (train).",
    ]
    (only,) = examples_in(uri, "test")
    assert only["camera"].bytes_list.value[0] == b"right"


def test_beam_makes_the_same(first_run, tmp_path):
    config = to_json(DataConfig(path=str(first_run.data)))
    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(tmp_path / "examples"), str(tmp_path / "report")
    os.makedirs(report.uri)
    properties = {"config": config, "engine": BEAM}
    Executor().Do({}, {"examples": [examples], "report": [report]}, properties)
    assert placed(tmp_path / "examples") == placed(first_run.uri)
    assert properties["input_fingerprint"] == resolve(config)["input_fingerprint"]
    ours = json.loads((tmp_path / "report" / "report.json").read_text())
    assert ours == report_of(first_run.root)


def test_tfrecords_of_raw_examples_come_back_the_same(first_run, tmp_path):
    uri, report = ingest(tmp_path, path=str(first_run.uri))
    assert report["images"] == 42
    index = index_of(tmp_path / "out/report")
    assert [(i.sha256, i.split, i.label, i.path) for i in index] == placed(uri)
    for split in ("train", "val", "test"):

        def labels(uri, split=split):
            values = examples_in(uri, split)
            names = (features.PATH, features.LABEL, features.ENCODED)
            return {tuple(v[n].bytes_list.value[0] for n in names) for v in values}

        assert labels(uri) == labels(first_run.uri)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tfrecord", b"not a TFRecord at all", "x.tfrecord: the TFRecord file is broken"),
        ("x.tfrecord.gz", b"not compressed", "x.tfrecord.gz: the TFRecord file is broken"),
    ],
)
def test_broken_tfrecords(first_run, tmp_path, name, content, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        ingest(tmp_path, path=str(tmp_path / "data"))


def test_tfrecords_of_something_else(first_run, tmp_path):
    example = tf.train.Example()
    example.features.feature["image_raw"].bytes_list.value.append(b"x")
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    with pytest.raises(
        DataError, match=r"example 0: expected encoded images .*found none in image_raw"
    ):
        ingest(tmp_path, path=str(tmp_path / "x.tfrecord"))


def test_too_many_bad_images_fail_the_run_with_their_names(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    for n in range(8):
        (data / "cat" / f"bad{n}.jpg").write_bytes(b"")
    with pytest.raises(DataError) as e:
        ingest(tmp_path, path=str(data))
    assert "8 of 48 images are unusable" in str(e.value)
    assert "cat/bad0.jpg: empty" in str(e.value) and "and 3 more" in str(e.value)


def test_a_class_whose_images_are_all_bad(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    for file in (data / "cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"usable images: expected at least two classes"):
        ingest(tmp_path, path=str(data), max_quarantine_fraction=1.0)


def test_data_that_changes_while_it_is_read(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    config = to_json(DataConfig(path=str(data)))
    properties = {"config": config, **resolve(config)}
    save(data / "cat/1.png", 999)
    examples, report = standard_artifacts.Examples(), IngestionReport()
    examples.uri, report.uri = str(tmp_path / "examples"), str(tmp_path / "report")
    os.makedirs(report.uri)
    with pytest.raises(DataError, match="changed while it was being read"):
        Executor().Do({}, {"examples": [examples], "report": [report]}, properties)


def test_two_hundred_thousand_pixels_are_refused_below_the_limit(first_run, tmp_path):
    data = two_classes(tmp_path / "data")
    save(data / "cat" / "wide.png", 1, size=(500, 400))
    _, report = ingest(tmp_path, path=str(data), max_pixels=100_000)
    assert report["quarantined"]["reasons"] == {"too-large": 1}


def save_16(folder, bits):
    """Two classes of grey images of 16 bits a sample whose data has fewer."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for n in range(PER_CLASS):
            samples = np.full((6, 8), n, np.uint16)
            samples[0, 0] = (1 << bits) - 1
            Image.fromarray(samples).save(folder / label / f"{n}-{label}.png")
            samples[0, 1] = n + (label == "dog") * 100
            Image.fromarray(samples).save(folder / label / f"{n}-{label}.png")


def test_data_of_12_bits_in_files_of_16_is_told_and_read_by_the_depth(first_run, tmp_path):
    save_16(tmp_path / "data", 12)
    _, report = ingest(tmp_path / "a", path=str(tmp_path / "data"))
    assert report["sample_bits"] == {"12": 2 * PER_CLASS}
    assert report["notices"] == [
        "40 images have samples of 16 bits and use at most 12 of them, so models see 16 of 256 "
        "shades; if they hold 12-bit data, set data.depth = 12."
    ]
    uri, report = ingest(tmp_path / "b", path=str(tmp_path / "data"), depth=12)
    assert report["notices"] == []
    encoded = next(examples_in(uri, "train"))[features.ENCODED].bytes_list.value[0]
    assert tf.io.decode_image(encoded).numpy()[0, 0, 0] == 255
    _, report = ingest(tmp_path / "c", path=str(tmp_path / "data"), depth=10)
    assert report["notices"] == [
        "40 of 40 images of 16 bits have samples above 1,023, which data.depth = 10 makes white; "
        "for all of them it is 12."
    ]


def test_images_of_8_bits_say_nothing_of_depth(first_run, tmp_path):
    _, report = ingest(tmp_path, path=str(two_classes(tmp_path / "data")))
    assert report["notices"] == [] and report["sample_bits"] == {}


def test_a_vocabulary_is_read_as_it_was_written(tmp_path):
    """Line feeds alone end a name; whatever else does for Python would shift the others."""
    names = ("c", "a\u2028b", "a\u2029", "\x85", "x\x0by", "x\x1cy", " a ", "\u00e9")
    assets = tmp_path / "transform_fn" / "assets"
    assets.mkdir(parents=True)
    (assets / "label_vocabulary").write_bytes("".join(f"{n}\n" for n in names).encode())
    assert class_names(tmp_path) == names


def peak_bytes():
    """The most memory that this process held since it was last asked."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def test_memory_does_not_grow_with_the_bytes_of_the_images(first_run, tmp_path):
    """100 MB of images, of which the in-memory runner once kept four times as much."""
    contents = tmp_path / "contents"
    contents.mkdir()
    for n in range(25):  # noise does not compress
        pixels = np.random.default_rng(n).integers(0, 256, (600, 600, 3), np.uint8)
        Image.fromarray(pixels).save(contents / f"{n}.png")
    data = tmp_path / "data"
    for n in range(100):
        link = data / ("cat", "dog")[n % 2] / f"{n}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(contents / f"{n // 2 % 25}.png")
    peak_bytes()
    before = peak_bytes()
    uri, report = ingest(tmp_path, path=str(data))
    grown = peak_bytes() - before
    assert report["images"] == 100 and report["bytes"] > 100e6
    assert grown < 80e6
    assert not list(uri.glob(".*"))
