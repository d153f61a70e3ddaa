"""The transform graph: the pixels of a copy in floats; large JPEGs at less than their size."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
from PIL import Image

SIZES = [(7, 5), (40, 30), (33, 64), (90, 250)]
TARGET = (32, 24)
"""Height and width."""


@pytest.fixture(scope="module")
def transform():
    from components.transform import graph

    return graph


@pytest.fixture(scope="module")
def graphs(transform):
    """By way of resizing: the graph, traced as TFX does."""
    import tensorflow as tf

    spec = tf.TensorSpec([], tf.string)
    return {
        resize: tf.function(
            partial(transform.decode, height=TARGET[0], width=TARGET[1], resize=resize)
        ).get_concrete_function(spec)
        for resize in transform.RESIZE
    }


def file(size, kind="PNG", **options):
    """Smooth, as photographs are."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def in_floats(encoded, resize):
    """By a full decode, and TensorFlow's own resize of floats."""
    import tensorflow as tf

    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    sides = np.float32(image.shape[:2])
    if tuple(image.shape[:2]) == TARGET:
        return image.numpy()
    scales = np.float32(TARGET) / sides
    scale = {"crop": scales.max(), "pad": scales.min(), "stretch": scales}[resize]
    size = np.maximum(np.round(sides * scale).astype(int), 1)
    resized = tf.image.resize(tf.cast(image, tf.float32), size, antialias=True)
    resized = tf.image.resize_with_crop_or_pad(resized, *TARGET)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8).numpy()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_bytes_are_resized_as_floats_were(graphs, resize, kind):
    import tensorflow as tf

    for size in [*SIZES, TARGET[::-1]]:
        encoded = file(size, kind)
        expected = in_floats(encoded, resize)
        np.testing.assert_array_equal(graphs[resize](tf.constant(encoded)).numpy(), expected)


@pytest.mark.parametrize(
    ("size", "ratio"),
    [((95, 127), 1), ((95, 500), 1), ((96, 128), 2), ((192, 256), 4), ((384, 512), 8)],
)
def test_a_jpeg_is_decoded_at_no_less_than_twice_its_target(transform, size, ratio):
    encoded = file(size, "JPEG")
    image, exact = transform._decoded(encoded, *TARGET)
    found = image.shape
    np.testing.assert_allclose(exact, np.array(size[::-1]) / ratio)
    assert tuple(found[:2]) == tuple(-(-side // ratio) for side in reversed(size))
    assert found[0] >= 2 * TARGET[0] or ratio == 1
    assert found[1] >= 2 * TARGET[1] or ratio == 1


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_large_jpeg_gives_nearly_the_pixels_of_a_full_decode(transform, graphs, resize, options):
    import tensorflow as tf

    for size in ((101, 133), (400, 300), (800, 1200)):
        encoded = file(size, "JPEG", quality=90, **options)
        expected = in_floats(encoded, resize).astype(int)
        differences = np.abs(graphs[resize](tf.constant(encoded)).numpy() - expected)
        assert differences.mean() < 1.5, size
        assert differences.max() < 24, size


def test_what_is_no_image_is_an_error(graphs):
    import tensorflow as tf

    for data in (b"", b"text", file((400, 300), "JPEG")[:80], b"\xff\xd8\xff"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            graphs["stretch"](tf.constant(data))


def test_batches_are_bounded_by_bytes_and_by_number():
    """On what TFX asks for batches with, as its flags are private."""
    from tfx_bsl.coders import batch_util

    from components.tfx_private import bound_batches

    bound_batches()
    options = batch_util.GetBatchElementsKwargs(None)
    most, size = options["max_batch_size"], options["element_size_fn"]
    assert most == 20 << 20 and options["min_batch_size"] == most
    assert size(bytes(1 << 20)) == 1 << 20
    assert most // size(b"") in (999, 1000)
