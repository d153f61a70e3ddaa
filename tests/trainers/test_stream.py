"""Streamed images are the arrays' images, in an order that only seed and epoch decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_images import lossless_jpeg, smooth
from raw_examples import CLASSES, SIZE, pictures, schema_of_raw_examples, write

from common.errors import DataError
from common.files import read_json
from components.array_gen.arrays import write_arrays
from components.transform.executor import write_graph
from components.transform.vocabulary import class_names
from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import load_backend
from trainers.data import Split
from trainers.decoder import Decoder
from trainers.frameworks import frameworks
from trainers.history import HISTORY
from trainers.job import TrainJob, fit
from trainers.stream import Stream

pytestmark = pytest.mark.pipelines

COUNT = 41
ONES = np.ones(len(CLASSES), np.float32)
UNSEEN = ("unseen", b"unseen.png", pictures(1)[0][2])


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    write_graph(folder, schema_of_raw_examples(), CLASSES, SIZE, "crop")
    return folder


def open_stream(graph: Path, examples: Path) -> Stream:
    return Stream(examples, graph, SIZE, class_names(graph), threads=1)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three shards, with an image of a class that is unseen in train."""
    images = pictures(COUNT)
    return write(tmp_path_factory.mktemp("x") / "Split-train", [*images, UNSEEN], files=3)


@pytest.fixture(scope="module")
def stream(graph: Path, examples: Path) -> Stream:
    return open_stream(graph, examples)


@pytest.fixture(scope="module")
def split(graph: Path, examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Split:
    target = tmp_path_factory.mktemp("arrays")
    write_arrays(examples, Decoder(graph, SIZE), target)
    return Split.open(target)


def config_of(**values) -> TrainConfig:
    given = {"batch_size": 6, "shuffle_buffer": 10, "augment": AugmentConfig(), **values}
    return TrainConfig(framework="keras", model="m", input="stream", **given)


def seen(batches) -> list[tuple[bytes, int]]:
    pairs = [(b.images_NHW3, b.labels_N) for b in batches]
    return [(image.tobytes(), int(n)) for each in pairs for image, n in zip(*each, strict=True)]


@pytest.mark.parametrize("buffer", [1, 10, 1000])
def test_each_image_comes_once_an_epoch_as_its_array_is(stream, split, buffer):
    config = config_of(shuffle_buffer=buffer)
    batches = [*stream.batches(config, ONES, epoch=1)]
    assert [len(b.labels_N) for b in batches] == [6, 6, 6, 6, 6, 6, 5]
    assert len(batches) == stream.steps(config) == split.steps(config)
    arrays = [(i.tobytes(), int(n)) for i, n in zip(split.images_NHW3, split.labels_N, strict=True)]
    assert len(set(arrays)) == COUNT
    assert sorted(seen(batches)) == sorted(arrays)
    assert seen(batches) != arrays
    assert all(b.images_NHW3.flags.writeable for b in batches)


def test_seed_and_epoch_decide_the_order(stream):
    def order(seed: int, epoch: int):
        return seen(stream.batches(config_of(seed=seed), ONES, epoch=epoch))

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2) != order(2, 1)


@pytest.mark.parametrize("after", [0, 1, 5, 6, 7])
def test_what_follows_some_batches_is_the_same_without_them(stream, after):
    whole = [*stream.batches(config_of(), ONES, epoch=3)][after:]
    rest = [*stream.batches(config_of(), ONES, epoch=3, after=after)]
    assert seen(rest) == seen(whole)
    for a, b in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(a.augmentation.affine_N23, b.augmentation.affine_N23)
        np.testing.assert_array_equal(a.targets_NC, b.targets_NC)


def test_what_is_passed_over_is_not_decoded(graph, tmp_path):
    broken = ("cat", b"cat/broken.jpg", lossless_jpeg(smooth()[..., 0]))
    stream = open_stream(graph, write(tmp_path / "Split-train", [broken, *pictures(11)]))
    config = config_of(shuffle_buffer=1)
    with pytest.raises(DataError, match=r"cat/broken\.jpg: expected an image that TensorFlow"):
        [*stream.batches(config, ONES, epoch=1)]
    assert len([*stream.batches(config, ONES, epoch=1, after=1)]) == 1


def test_validation_goes_through_the_images_in_order(stream, split):
    chunks = [*stream.chunks(16)]
    assert [len(labels_N) for _, labels_N in chunks] == [16, 16, 9]
    np.testing.assert_array_equal(np.concatenate([i for i, _ in chunks]), split.images_NHW3)
    np.testing.assert_array_equal(np.concatenate([n for _, n in chunks]), split.labels_N)
    np.testing.assert_array_equal(stream.labels_N, split.labels_N)
    assert len(stream) == COUNT and stream.image_size == split.image_size == SIZE


def test_a_split_without_a_known_class_is_refused(graph, tmp_path):
    with pytest.raises(DataError, match="The split 'val' has no image"):
        open_stream(graph, write(tmp_path / "Split-val", [UNSEEN]))


@pytest.mark.parametrize("framework", frameworks())
def test_a_training_goes_through_them(framework, graph, examples, tmp_path):
    (tmp_path / "run").mkdir()
    job = TrainJob(
        config=TrainConfig(
            framework=framework, model="small_cnn", input="stream", epochs=2, batch_size=16
        ),
        train_split=str(examples),
        val_split=str(examples),
        image_size=SIZE,
        class_names=class_names(graph),
        transform_graph=str(graph),
        model_dir=str(tmp_path / "model"),
        run_dir=str(tmp_path / "run"),
        dataset_digest="",
        transform_digest="",
    )
    fitted = fit(load_backend(framework), job)
    history = read_json(tmp_path / "run" / HISTORY)
    assert [epoch["epoch"] for epoch in history] == [1, 2]
    assert all(np.isfinite(epoch["loss"]) for epoch in history)
    assert fitted.compared_NHW3.shape == (16, *SIZE, 3)
