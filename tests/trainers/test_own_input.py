"""A user's own pipeline: what it is given, what it may give, and what is said where it may not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from softmax_regression import bright_and_dark, write_split

from common.errors import ConfigError
from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import Batch
from trainers.data import Split
from trainers.inputs import open_splits
from trainers.own_input import OwnInput

pytestmark = pytest.mark.quick

COUNT, CLASSES = 10, ("dark", "bright")
SPLIT = bright_and_dark(COUNT, size=4)
WEIGHTS = np.array([1, 3], np.float32)
FUNCTIONS = """
import numpy as np

given = []

class Indexed:
    "What a torch Dataset is: found by number alone."

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, number):
        return self.images[number], self.labels[number]

class Walked:
    "What a tf.data.Dataset or a DataLoader is: walked through, perhaps of unknown length."

    def __init__(self, elements, length=None):
        self.elements, self.length = elements, length

    def __iter__(self):
        return iter(self.elements)

    def __len__(self):
        if self.length is None:
            raise TypeError("unknown")
        return self.length

def indexed(split):
    given.append(split)
    return Indexed(split.images_NHW3, split.labels_N)

def single(split):
    return Walked(list(zip(split.images_NHW3, split.labels_N)), len(split.labels_N))

def batched(split, size=5):
    starts = range(0, len(split.labels_N), size)
    parts = [slice(s, s + size) for s in starts]
    return Walked([(split.images_NHW3[p], split.labels_N[p]) for p in parts], len(parts))

def endless(split):
    def elements():
        while True:
            yield split.images_NHW3[0], split.labels_N[0]
    return elements()

def shrinking(split):
    return Walked([(split.images_NHW3, split.labels_N)] * (3 - split.epoch), 2)

def changed(split, images="x", labels="y"):
    "One batch: Python makes the arrays."
    x, y = split.images_NHW3, split.labels_N
    names = {"np": np, "x": x, "y": y}
    return Walked([(eval(images, names), eval(labels, names))])

def triples(split):
    return Walked([(1, 2, 3)])

def nothing(split):
    return Walked([])

def number(split):
    return 5

def failing(split):
    return Walked([1 / 0])
"""


@pytest.fixture(scope="module", autouse=True)
def functions(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_inputs.py").write_text(FUNCTIONS)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("own_inputs", None)


def config_of(function: str, **values: Any) -> TrainConfig:
    name = f"own_inputs:{function}"
    return TrainConfig(framework="keras", model="m", batch_size=4, input=name, **values)


def open_input(function: str, split: Split = SPLIT, **values: Any) -> OwnInput:
    return OwnInput(config_of(function, **values), split, CLASSES)


def batches(function: str, epoch: int = 1, after: int = 0, **values: Any) -> list[Batch]:
    config = config_of(function, **values)
    return [*OwnInput(config, SPLIT, CLASSES).batches(config, WEIGHTS, epoch=epoch, after=after)]


def images_of(made: list[Batch]) -> list[bytes]:
    return [image.tobytes() for batch in made for image in batch.images_NHW3]


ALL = sorted(image.tobytes() for image in SPLIT.images_NHW3)


@pytest.mark.parametrize(
    ("function", "sizes"),
    [("indexed", [4, 4, 2]), ("single", [4, 4, 2]), ("batched", [5, 5])],
)
def test_an_epoch_is_what_the_function_gives(function, sizes):
    made = batches(function)
    assert [len(b.labels_N) for b in made] == sizes
    assert open_input(function).steps(config_of(function)) == len(sizes)
    assert sorted(images_of(made)) == ALL
    for batch in made:
        assert batch.images_NHW3.dtype == np.uint8 and batch.images_NHW3.flags.writeable
        assert batch.labels_N.dtype == np.int64 and batch.augmentation is None
        np.testing.assert_array_equal(batch.targets_NC, np.eye(2)[batch.labels_N])
        np.testing.assert_array_equal(batch.weights_N, WEIGHTS[batch.labels_N])


def test_what_has_no_order_is_shuffled_anew_in_each_epoch():
    first, same, second = (images_of(batches("indexed", epoch=n)) for n in (1, 1, 2))
    assert first == same != second and sorted(second) == ALL
    assert images_of(batches("indexed", seed=1)) != first
    assert images_of(batches("single")) == [i.tobytes() for i in SPLIT.images_NHW3]


@pytest.mark.parametrize("function", ["indexed", "single", "batched"])
def test_a_training_goes_on_from_any_batch(function):
    whole = batches(function, epoch=2)
    for after in range(len(whole) + 1):
        assert images_of(batches(function, epoch=2, after=after)) == images_of(whole[after:])


def test_it_is_told_what_the_run_has():
    import own_inputs

    own_inputs.given.clear()
    batches("indexed", epoch=7, seed=3)
    given = own_inputs.given[-1]
    assert (given.class_names, given.batch_size, given.seed, given.epoch) == (CLASSES, 4, 3, 7)
    assert given.images_NHW3 is SPLIT.images_NHW3 and given.labels_N is SPLIT.labels_N
    assert [len(b.labels_N) for b in batches("batched", input_args={"size": 7})] == [7, 3]


def test_an_endless_one_gives_epochs_of_as_many_images_as_the_split():
    assert [len(b.labels_N) for b in batches("endless")] == [4, 4, 4]


def test_an_epoch_that_ends_early_is_refused():
    with pytest.raises(ConfigError, match=r"give 2 batches in each epoch .*; got 1 in epoch 2"):
        batches("shrinking", epoch=2)


def test_its_images_are_augmented_if_asked_for():
    (first, *_) = batches("single", augment_input=True, augment=AugmentConfig(brightness=0.5))
    assert first.augmentation is not None
    assert first.augmentation.colour_N34.shape == (4, 3, 4)


def test_floats_become_bytes_and_channels_may_come_first():
    (batch,) = batches("changed", input_args={"images": "x.astype('float32') + 0.4"})
    np.testing.assert_array_equal(batch.images_NHW3, SPLIT.images_NHW3)
    (batch,) = batches("changed", input_args={"images": "x.transpose(0, 3, 1, 2)"})
    np.testing.assert_array_equal(batch.images_NHW3, SPLIT.images_NHW3)
    assert batch.images_NHW3.flags.c_contiguous


def test_labels_may_be_shares_of_the_classes():
    shares = {"labels": "np.tile([0.25, 0.75], (10, 1))"}
    (batch,) = batches("changed", input_args=shares, label_smoothing=0.2)
    np.testing.assert_allclose(batch.targets_NC, np.tile([0.3, 0.7], (10, 1)), atol=1e-6)
    assert batch.labels_N.tolist() == [1] * 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"images": "x[:, :3]"},
            r"images of 4×4×3, the size that is served; got an array of shape",
        ),
        ({"images": "x[..., :1]"}, r"got an array of shape \(10, 4, 4, 1\)"),
        ({"images": "x / 255"}, "images of 0 to 255, .* got float64 from 0 to"),
        ({"images": "x / 127.5 - 1"}, "got float64 from -1 to"),
        ({"images": "x * np.nan"}, "got float64 from nan to nan"),
        ({"labels": "y + 1"}, "labels of 0 to 1, places among the class names; got 2"),
        ({"labels": "y - 1"}, "labels of 0 to 1, .*; got -1"),
        ({"labels": "y[:3]"}, r"10 whole numbers as labels, .*; got int64 of shape \(3,\)"),
        ({"labels": "np.array(['dark'] * 10)"}, r"10 whole numbers as labels, .*; got <U4"),
        ({"labels": "np.ones((10, 2))"}, "shares of classes that sum to one"),
        ({"labels": "np.eye(3)[y]"}, "shares of 2 classes for each image; got float64 of shape"),
    ],
)
def test_what_a_training_cannot_take_is_refused_before_it_begins(given, said):
    with pytest.raises(ConfigError, match="train.input: expected own_inputs:changed.*" + said):
        open_input("changed", input_args=given)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("triples", r"pairs of images and labels; got \(1, 2, 3\)"),
        ("nothing", "at least one image; got none"),
        ("number", "a tf.data.Dataset, a torch.utils.data.Dataset or a DataLoader; got 5"),
        ("failing", r"raised ZeroDivisionError: division by zero \(own_inputs.py, line \d+\)"),
        ("singel", "train.input: own_inputs has no function 'singel'. Did you mean 'single'"),
    ],
)
def test_a_function_that_is_wrong_is_told_of(function, said):
    with pytest.raises(ConfigError, match=said):
        open_input(function)


def test_validation_sees_the_images_as_they_are(tmp_path: Path):
    for name in ("train", "val"):
        write_split(tmp_path / name, SPLIT)
    source, validation = open_splits(
        config_of("batched"),
        tmp_path / "train",
        tmp_path / "val",
        class_names=CLASSES,
        transform_graph=tmp_path,
        image_size=None,
        accelerator="cpu",
    )
    assert isinstance(source, OwnInput) and isinstance(validation, Split)
    np.testing.assert_array_equal(source.labels_N, SPLIT.labels_N)
    assert source.image_size == (4, 4)
