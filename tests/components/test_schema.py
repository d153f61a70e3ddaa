"""Class checks against a schema, and freezing one."""

from __future__ import annotations

import os

import pytest
import tfx  # noqa: F401  (before TFDV)

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_metadata.proto.v0 import statistics_pb2  # isort: skip

from common.errors import DataError
from components import schema as schemas
from components.example_validator.executor import class_anomalies
from components.schema_gen.executor import infer
from components.statistics.executor import value_counts
from modelstore import raw_example as features


def statistics_of(counts, formats=("png",)) -> statistics_pb2.DatasetFeatureStatisticsList:
    import pandas as pd

    labels = [name for name, count in counts.items() for _ in range(count)]
    frame = pd.DataFrame({features.LABEL: labels})
    frame[features.FORMAT] = [formats[n % len(formats)] for n in range(len(labels))]
    options = tfdv.StatsOptions(num_rank_histogram_buckets=5000)
    return tfdv.generate_statistics_from_dataframe(frame, options)


@pytest.fixture(scope="module")
def schema():
    return infer(statistics_of({"cat": 60, "dog": 40}), class_balance_threshold=0.1)


def kinds(schema, counts, split="train"):
    return [(a.kind, a.message) for a in class_anomalies(split, counts, schema)]


def test_the_same_data_has_no_anomalies(schema):
    assert kinds(schema, {"cat": 60, "dog": 40}) == []
    assert kinds(schema, {"cat": 69, "dog": 31}) == []


def test_unseen_class_in_any_split(schema):
    for split in ("train", "val", "test"):
        found = dict(kinds(schema, {"cat": 60, "dog": 40, "emu": 2}, split))
        assert found == {"unseen-class": "label: class 'emu' (2 images) is not in the schema"}


def test_vanished_class_matters_in_train_alone(schema):
    assert "vanished-class" in dict(kinds(schema, {"cat": 10}))
    assert kinds(schema, {"cat": 10}, "val") == []


def test_jump_in_balance_names_both_shares(schema):
    found = kinds(schema, {"cat": 40, "dog": 60})
    assert [kind for kind, _ in found] == ["class-balance"] * 2
    assert "class 'cat' is 40.0% of the train images, was 60.0%" in found[0][1]


def test_balance_is_not_checked_without_counts_or_threshold(schema):
    edited = schemas.schema_pb2.Schema()
    edited.CopyFrom(schema)
    del schemas.feature(edited, features.LABEL).annotation.comment[:]
    assert kinds(edited, {"cat": 1, "dog": 99}) == []


def test_thousands_of_classes_are_all_in_the_domain():
    counts = {f"class {n:04}": 1 + n % 3 for n in range(3000)}
    statistics = statistics_of(counts)
    assert value_counts(statistics, features.LABEL) == counts
    schema = infer(statistics, class_balance_threshold=0.1)
    assert schemas.classes(schema) == sorted(counts)
    assert schemas.class_counts(schema) == counts


def test_another_format_in_another_split_is_no_anomaly(schema):
    other = statistics_of({"cat": 3, "dog": 3}, formats=("jpeg",))
    part = schemas.schema_pb2.Schema()
    part.CopyFrom(schema)
    for feature in list(part.feature):
        if feature.name in schemas.NOT_IN_STATISTICS:
            part.feature.remove(feature)
    assert not tfdv.validate_statistics(other, part).anomaly_info


def test_freeze_replaces_the_file_whole(schema, tmp_path):
    uri = tmp_path / "artifact"
    uri.mkdir()
    text = schemas.text_format.MessageToString(schema, as_utf8=True)
    (uri / "schema.pbtxt").write_text(text)
    (tmp_path / "schema.pbtxt").write_text("old")
    path = schemas.freeze(str(uri), str(tmp_path))
    assert path == str(tmp_path / "schema.pbtxt")
    assert schemas.read(path) == schema
    assert sorted(os.listdir(tmp_path)) == ["artifact", "schema.pbtxt"]
    assert schemas.freeze(str(uri), str(tmp_path / "new/folder/my.pbtxt")).endswith("my.pbtxt")


def test_unusable_schemas_are_named(tmp_path):
    with pytest.raises(DataError, match=r"schema.pbtxt: expected a schema"):
        schemas.freeze(str(tmp_path), str(tmp_path / "x"))
    (tmp_path / "bad.pbtxt").write_text("feature {")
    with pytest.raises(DataError, match=r"bad.pbtxt: expected a schema"):
        schemas.read(str(tmp_path / "bad.pbtxt"))
    with pytest.raises(DataError, match="no feature 'label'"):
        schemas.classes(schemas.schema_pb2.Schema())
