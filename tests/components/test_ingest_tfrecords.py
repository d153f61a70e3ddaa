"""Raw examples and their files, made without TensorFlow and read with it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from components.example_gen import tfrecords
from modelstore import raw_example as features

import tensorflow as tf  # isort: skip

_values = st.one_of(
    st.binary(max_size=300),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32, allow_nan=False),
    st.sampled_from([0.0, -0.0]),
)


@given(
    st.binary(max_size=20_000),
    st.integers(0, 2**40),
    st.one_of(st.none(), st.text(max_size=20)),
    st.dictionaries(st.text(max_size=200), _values, max_size=4),
)
def test_an_example_is_what_tensorflow_makes(
    encoded: bytes, number: int, label: str | None, extra: dict[str, bytes | int | float]
) -> None:
    extra = {name: value for name, value in extra.items() if name not in features.RESERVED}
    written = features.serialise(
        encoded=encoded,
        format="png",
        path=b"a/\xff.png",
        sha256="0" * 64,
        width=number,
        height=128,
        channels=3,
        size=len(encoded),
        label=label,
        extra=extra,
    )
    values: dict[str, bytes | int | float] = {
        features.ENCODED: encoded,
        features.FORMAT: b"png",
        features.PATH: b"a/\xff.png",
        features.SHA256: b"0" * 64,
        features.WIDTH: number,
        features.HEIGHT: 128,
        features.CHANNELS: 3,
        features.BYTES: len(encoded),
        **({} if label is None else {features.LABEL: label.encode()}),
        **extra,
    }
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    # Of names that begin with one another, the order may be another.
    assert tf.train.Example.FromString(written) == example
    assert len(written) == example.ByteSize()


def test_files_are_read_by_tensorflow_and_by_us(tmp_path: Path) -> None:
    examples = [b"", b"x", bytes(range(256)) * 3000, *(b"%d" % n for n in range(1000))]
    writer = tfrecords.Writer(tmp_path / "file.gz")
    for example in examples:
        writer.write(tfrecords.framed(example))
    writer.close()
    dataset = tf.data.TFRecordDataset(str(tmp_path / "file.gz"), "GZIP")
    assert list(dataset.as_numpy_iterator()) == examples
    framed = [tfrecords.framed(example) for example in examples]
    assert list(tfrecords.read(tmp_path / "file.gz")) == framed
