"""Shards, batches and class weights."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st
from softmax_regression import bright_and_dark, write_split

from common.errors import ConfigError, DataError
from trainers.arrays import LABELS
from trainers.config import AugmentConfig, TrainConfig
from trainers.data import Split, batches, check_labels, class_weights, targets

pytestmark = pytest.mark.quick

OFF = AugmentConfig(horizontal_flip=False, crop_padding=0.0)
ONES = np.ones(2, np.float32)


def numbered(count: int) -> Split:
    """Image i is filled with the bytes of i, and its label is i."""
    pixels = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(count, 1, 1, 4)
    return Split(np.repeat(pixels[..., :3], 2, axis=2), np.arange(count))


def config_of(**values):
    return TrainConfig(framework="keras", model="small_cnn", **values)


def epoch(
    split: Split,
    seed: int = 0,
    number: int = 1,
    batch_size: int = 4,
    augment=OFF,
    after=0,
    **config,
):
    weights_C = np.arange(split.labels_N.max() + 1, dtype=np.float32)
    config = config_of(batch_size=batch_size, seed=seed, augment=augment, **config)
    return list(batches(split, config, weights_C, epoch=number, after=after))


@EXAMPLES
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_every_image_is_seen_once_per_epoch_with_its_label_and_weight(count, size, seed, number):
    made = epoch(numbered(count), seed, number, size)
    assert [len(b.labels_N) for b in made[:-1]] == [size] * (len(made) - 1)
    assert 1 <= len(made[-1].labels_N) <= size
    labels = np.concatenate([b.labels_N for b in made])
    assert sorted(labels) == list(range(count))
    for batch in made:
        pixels = batch.images_NHW3[:, 0, 1].astype(int) @ [1, 256, 65536]
        assert (pixels == batch.labels_N).all()
        assert (batch.weights_N == batch.labels_N).all()
        assert batch.images_NHW3.flags.c_contiguous and batch.augmentation is None


def test_equal_seeds_give_equal_epochs_and_different_ones_do_not():
    split, augment = numbered(50), AugmentConfig(rotation=10, brightness=0.2)
    one, same = epoch(split, 7, 2, augment=augment), epoch(split, 7, 2, augment=augment)
    for a, b in zip(one, same, strict=True):
        assert (a.labels_N == b.labels_N).all()
        assert (a.augmentation.affine_N23 == b.augmentation.affine_N23).all()
        assert (a.augmentation.colour_N34 == b.augmentation.colour_N34).all()
    first = [tuple(epoch(split, seed, number)[0].labels_N) for seed, number in SEEDS]
    assert len(set(first)) == len(SEEDS)


SEEDS = [(7, 1), (7, 2), (8, 1), (8, 2), (0, 1)]


@pytest.mark.parametrize("sampling", ["shuffle", "balanced"])
@pytest.mark.parametrize("after", [1, 12, 13])
def test_an_epoch_can_be_gone_on_with_from_any_batch(after, sampling):
    settings = {"augment": AugmentConfig(rotation=10, brightness=0.2), "sampling": sampling}
    whole = epoch(numbered(50), **settings)
    rest = epoch(numbered(50), **settings, after=after)
    assert len(whole) == 13 == after + len(rest)
    for a, b in zip(whole[after:], rest, strict=True):
        assert (a.labels_N == b.labels_N).all()
        assert (a.augmentation.affine_N23 == b.augmentation.affine_N23).all()
        assert (a.augmentation.colour_N34 == b.augmentation.colour_N34).all()


def uneven(labels) -> Split:
    """Each image holds its number."""
    return Split(numbered(len(labels)).images_NHW3, np.array(labels))


def drawn_of(split: Split, **settings) -> tuple[np.ndarray, np.ndarray]:
    """The number and the label of each image of an epoch."""
    made = epoch(split, **settings, sampling="balanced")
    pixels = np.concatenate([b.images_NHW3[:, 0, 1] for b in made]).astype(int)
    return pixels @ [1, 256, 65536], np.concatenate([b.labels_N for b in made])


@EXAMPLES
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=200),
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
)
def test_a_balanced_epoch_has_each_class_that_is_present_as_often(labels, seed, number):
    split = uneven(labels)
    numbers, drawn = drawn_of(split, seed=seed, number=number)
    assert len(drawn) == len(labels)
    assert (split.labels_N[numbers] == drawn).all()
    counts = np.bincount(drawn, minlength=7)[sorted(set(labels))]
    assert counts.sum() == len(labels) and counts.max() - counts.min() <= 1
    again, _ = drawn_of(split, seed=seed, number=number)
    assert (numbers == again).all()


def test_a_balanced_epoch_draws_every_image_of_a_class_alike():
    split = uneven([0] * 18 + [1, 1])
    epochs = [drawn_of(split, number=n)[0] for n in range(400)]
    assert len({tuple(e) for e in epochs}) == 400
    counts = np.bincount(np.concatenate(epochs), minlength=20)
    # Of ten draws of each class an epoch: 4000 / 18 and 4000 / 2, five deviations.
    assert (abs(counts[:18] - 222) < 73).all() and (abs(counts[18:] - 2000) < 159).all()


def test_balance_comes_from_one_thing():
    with pytest.raises(ConfigError, match="evens the classes out already"):
        config_of(sampling="balanced", class_weights="balanced")
    assert config_of(sampling="balanced", class_weights={"a": 2.0}).class_weights == {"a": 2.0}


@EXAMPLES
@given(st.lists(st.integers(-3, 6), min_size=1), st.integers(1, 5))
def test_labels_of_no_class_are_refused_with_their_number(labels, classes):
    wrong = sum(not 0 <= label < classes for label in labels)
    if not wrong:
        return check_labels("val", np.array(labels), classes)
    found = rf"'val': expected labels from 0 to {classes - 1}, .* {wrong} of {len(labels)} images"
    with pytest.raises(DataError, match=found):
        check_labels("val", np.array(labels), classes)


def test_smoothing_gives_every_class_its_share():
    expected = [[0.75 + 0.05, *[0.05] * 4], [*[0.05] * 4, 0.75 + 0.05]]
    np.testing.assert_allclose(targets(np.array([0, 4]), 5, 0.25), expected, rtol=1e-6)


def test_batches_are_drawn_from_everywhere():
    """The first batches of many epochs hold every image about equally often."""
    counts = collections.Counter(
        i for number in range(400) for i in epoch(numbered(20), 0, number, 5)[0].labels_N
    )
    # Binomial(400, 1/4): 100 ± 8.7; five deviations.
    assert set(counts) == set(range(20))
    assert all(56 <= n <= 144 for n in counts.values())


def test_a_consumer_may_stop_in_the_middle():
    made = batches(numbered(40), config_of(batch_size=4, augment=OFF), np.ones(40), epoch=1)
    next(made)
    made.close()


def test_a_shard_is_read_where_it_lies(tmp_path):
    write_split(tmp_path / "train", bright_and_dark(6))
    split = Split.open(tmp_path / "train")
    assert isinstance(split.images_NHW3, np.memmap)
    assert len(split) == 6


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((0, 2, 2, 3), np.uint8), np.zeros(0, np.int64), "the split has no image"),
        (np.zeros((2, 2, 2, 3), np.float32), np.zeros(2, np.int64), "expected uint8"),
        (np.zeros((2, 2, 3), np.uint8), np.zeros(2, np.int64), "expected uint8"),
        (np.zeros((2, 2, 2, 3), np.uint8), np.zeros(3, np.int64), "expected uint8"),
    ],
)
def test_a_shard_of_another_form_is_refused(tmp_path, images, labels, message):
    write_split(tmp_path / "train", Split(images, labels))
    with pytest.raises(DataError, match=message):
        Split.open(tmp_path / "train")


def test_labels_are_kept_beside_the_images(tmp_path):
    write_split(tmp_path / "train", bright_and_dark(4))
    assert np.load(tmp_path / "train" / LABELS).tolist() == [0, 1, 0, 1]


def weights(setting, labels=(0, 0, 0, 1), names=("cat", "dog")):
    config = config_of(class_weights=setting)
    return class_weights(config, np.array(labels), list(names))


def test_class_weights_by_hand():
    assert weights("none").tolist() == [1, 1]
    assert weights("balanced").tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    assert weights({"dog": 3.0}).tolist() == [1, 3]


@EXAMPLES
@given(st.lists(st.integers(0, 4), min_size=1))
def test_balanced_classes_have_equal_shares_of_the_loss(labels):
    names = [str(i) for i in range(5)]
    weights_C = weights("balanced", labels, names)
    shares = np.bincount(labels, weights_C[labels], minlength=5)
    present = np.bincount(labels, minlength=5) > 0
    assert shares[present] == pytest.approx(len(labels) / 5)
    assert weights_C.dtype == np.float32 and np.isfinite(weights_C).all()
