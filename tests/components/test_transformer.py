"""An image that the transform graph cannot decode is named, and not printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from odd_images import encode, lossless_jpeg, smooth
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import transform_pb2

from common.errors import DataError
from components import transform, transformer
from components.example_gen import reading
from components.example_gen.component import ImageExampleGen
from components.example_gen.config import DataConfig
from components.schema_gen import SchemaGen
from components.statistics import StatisticsGen
from modelstore.raw_example import serialise

pytestmark = pytest.mark.pipelines

BROKEN = lossless_jpeg(smooth()[..., 0])
SIZE = (16, 16)


def write(folder, *files):
    import tensorflow as tf

    folder.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-0-of-1.gz"), options) as writer:
        for path, data in files:
            writer.write(
                serialise(
                    encoded=data, format="jpeg", path=path, sha256="", width=1, height=1,
                    channels=3, size=len(data), label="cat", extra={},
                )
            )  # fmt: skip


def test_the_first_image_that_cannot_be_decoded_is_found(tmp_path):
    whole = [(b"cat/%d.jpg" % n, encode("JPEG", smooth())) for n in range(3)]
    write(tmp_path / "whole", *whole)
    write(tmp_path / "broken", *whole, (b"cat/\xff.jpg", BROKEN), (b"cat/z.jpg", BROKEN))
    assert transformer.undecodable(tmp_path / "whole", SIZE, "crop") is None
    assert transformer.undecodable(tmp_path / "broken", SIZE, "crop") == b"cat/\xff.jpg"


def test_a_run_ends_with_its_name_and_without_its_bytes(tmp_path, monkeypatch):
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
    transformed = transformer.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=f"{transform.__name__}.preprocessing_fn",
        custom_config={"image_size": list(SIZE), "resize": "stretch"},
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "val"]),
        disable_statistics=True,
    )
    store = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    nodes = [examples, statistics, schema, transformed]
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
