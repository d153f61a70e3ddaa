"""One suite for every backend: the promises of `trainers.contract`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_of import batch_of

from common.errors import ConfigError
from trainers.augment.reference import apply
from trainers.config import AugmentConfig, TrainConfig
from trainers.contract import (
    Augmentation,
    Backend,
    Batch,
    Erase,
    Learner,
    Mix,
    Predictor,
    StepResult,
    load_backend,
)
from trainers.data import Split, batches
from trainers.frameworks import frameworks, get_framework

SIZE = (16, 16)
CLASSES = 3
PROBE_SIZE = (4, 5)

USER_MODELS = {
    "keras": '''
import keras
import numpy as np

def probe(num_classes, image_size):
    """Logits 0 and then the pixels as they come in."""
    images = keras.Input((*image_size, 3))
    dense = keras.layers.Dense(num_classes)
    model = keras.Model(images, dense(keras.layers.Flatten()(images)))
    dense.set_weights([np.eye(num_classes - 1, num_classes, k=1), np.zeros(num_classes)])
    return model

def linear(num_classes, image_size, width=4):
    images = keras.Input((*image_size, 3))
    x = keras.layers.Dense(width)(keras.layers.Flatten()(images))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))

def wide(num_classes, image_size):
    return linear(num_classes + 1, image_size)

def dropping(num_classes, image_size):
    images = keras.Input((*image_size, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    return keras.Model(images, keras.layers.Dense(num_classes)(x))
def frozen(num_classes, image_size):
    model = linear(num_classes, image_size)
    model.trainable = False
    return model
''',
    "pytorch": '''
import torch
from torch import nn

class NHWC(nn.Module):
    def forward(self, images):
        return images.permute(0, 2, 3, 1).flatten(1)

def probe(num_classes, image_size):
    """Logits 0 and then the pixels as they come in."""
    dense = nn.Linear(num_classes - 1, num_classes)
    with torch.no_grad():
        dense.bias.zero_()
        dense.weight.zero_()
        dense.weight[1:] = torch.eye(num_classes - 1)
    return nn.Sequential(NHWC(), dense)

def linear(num_classes, image_size, width=4):
    pixels = 3 * image_size[0] * image_size[1]
    return nn.Sequential(NHWC(), nn.Linear(pixels, width), nn.Linear(width, num_classes))

def wide(num_classes, image_size):
    return linear(num_classes + 1, image_size)

def dropping(num_classes, image_size):
    pixels = 4 * (image_size[0] - 2) * (image_size[1] - 2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(pixels, num_classes),
    )
def frozen(num_classes, image_size):
    return linear(num_classes, image_size).requires_grad_(False)
''',
}
EVERYTHING = (
    AugmentConfig(
        horizontal_flip="alternating",
        vertical_flip=True,
        random_resized_crop=True,
        rotation=10,
        zoom=0.2,
        fill="reflect",
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.1,
        grayscale=0.2,
        auto="rand",
        random_erasing=0.5,
        cutout=0.3,
        erasing_fill="noise",
        mixup=0.4,
        cutmix=1.0,
    ),
    AugmentConfig(auto="trivial", cutmix=1.0),
    AugmentConfig(mixup=1.0, cutout=0.5),
)
BROKEN_MODELS = """
def number(num_classes, image_size):
    return 5

def failing(num_classes, image_size):
    raise RuntimeError("no such layer")
"""


@dataclass(frozen=True)
class Framework:
    name: str
    backend: Backend
    user_module: str

    def config(self, model: str = "small_cnn", **values: Any) -> TrainConfig:
        return TrainConfig(framework=self.name, model=model, **values)

    def learner(
        self, model: str = "small_cnn", size: tuple[int, int] = SIZE, **values: Any
    ) -> Learner:
        self.backend.configure(threads=2, seed=0)
        config = self.config(model, **values)
        return self.backend.build(config, num_classes=CLASSES, image_size=size)


@pytest.fixture(scope="session", params=frameworks())
def framework(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Framework]:
    name = request.param
    backend = load_backend(name)
    assert backend.configure(threads=2, seed=0)
    folder = tmp_path_factory.mktemp("user_models")
    module = f"user_models_for_{name}"
    (folder / f"{module}.py").write_text(USER_MODELS[name] + BROKEN_MODELS)
    (folder / f"{module}_broken.py").write_text("import a_package_that_is_not_there\n")
    sys.path.insert(0, str(folder))
    yield Framework(name, backend, module)
    sys.path.remove(str(folder))


@dataclass(frozen=True)
class Saved:
    """A trained model, its folder, and what it says of some images."""

    learner: Learner
    directory: Path
    images_NHW3: np.ndarray
    scores_NC: np.ndarray


@pytest.fixture(scope="session", params=["small_cnn", "resnet20"])
def saved(
    request: pytest.FixtureRequest,
    framework: Framework,
    tmp_path_factory: pytest.TempPathFactory,
) -> Saved:
    learner = framework.learner(request.param)
    learner.prepare_export()
    fit(learner, steps=5)  # So that running statistics differ from their start.
    directory = tmp_path_factory.mktemp("native")
    learner.save(directory)
    images = random_images(9, SIZE)
    return Saved(learner, directory, images, learner.predict(images))


def random_images(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def coloured_batch(count: int = 12) -> Batch:
    """Noise in which one colour is stronger: the class."""
    labels = np.arange(count) % CLASSES
    images = random_images(count, SIZE) // 2
    images[np.arange(count), :, :, labels] += 120
    return batch_of(images, labels, classes=CLASSES)


def fit(learner: Learner, steps: int, rate: float = 1e-2) -> list[StepResult]:
    return [learner.train_step(coloured_batch(), rate) for _ in range(steps)]


def log_probabilities(
    learner: Learner, images: np.ndarray, augmentation: Augmentation | None, classes: int
) -> np.ndarray:
    """log p of every image and class in training, from losses alone, N×C.

    One-hot weights single an image out; a learning rate of 0 changes nothing.
    """
    count = len(images)
    result = np.zeros((count, classes))
    for i, weights in enumerate(np.eye(count)):
        for label in range(classes):
            batch = batch_of(images, np.full(count, label), weights, augmentation, classes=classes)
            result[i, label] = -learner.train_step(batch, 0.0).loss
    return result


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_learns_what_can_be_told_apart(framework: Framework, optimizer: Any) -> None:
    learner = framework.learner(optimizer=optimizer)
    results = fit(learner, steps=40, rate=1e-2 if optimizer == "adamw" else 5e-2)
    assert results[-1].metric_sum == 12
    assert results[-1].loss < 0.1 < results[0].loss
    batch = coloured_batch()
    np.testing.assert_array_equal(learner.predict(batch.images_NHW3).argmax(1), batch.labels_N)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_predicts_probabilities_for_any_number_of_images(framework: Framework, count: int) -> None:
    learner = framework.learner()
    images = random_images(7, SIZE)
    scores = learner.predict(images[:count])
    assert scores.shape == (count, CLASSES) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), np.ones(count), atol=1e-6)
    np.testing.assert_allclose(scores, learner.predict(images)[:count], atol=1e-6)


def test_predicts_more_images_than_fit_one_batch(framework: Framework) -> None:
    learner = framework.learner()
    images = random_images(600, SIZE)
    scores = learner.predict(images)
    assert scores.shape == (600, CLASSES)
    np.testing.assert_allclose(scores[-5:], learner.predict(images[-5:]), atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_is_the_weighted_smoothed_cross_entropy(
    framework: Framework, smoothing: float
) -> None:
    images, labels, weights = random_images(4, SIZE), [0, 1, 2, 1], [1.0, 0.5, 3.0, 0.0]
    log_p = log_probabilities(framework.learner(), images, None, CLASSES)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), np.ones(4), atol=1e-5)
    losses = -(1 - smoothing) * log_p[range(4), labels] - smoothing * log_p.mean(axis=1)
    batch = batch_of(images, labels, weights, classes=CLASSES, smoothing=smoothing)
    result = framework.learner().train_step(batch, 1e-3)
    assert result.loss == pytest.approx(np.average(losses, weights=weights), rel=1e-4)
    assert result.metric_sum == (log_p.argmax(axis=1) == labels).sum()


def test_a_batch_that_weighs_nothing_does_no_harm(framework: Framework) -> None:
    learner = framework.learner()
    images = random_images(4, SIZE)
    result = learner.train_step(batch_of(images, [0, 1, 2, 0], np.zeros(4), classes=CLASSES), 1e-2)
    assert result.loss == 0
    assert np.isfinite(learner.predict(images)).all()


def test_a_last_batch_of_one_image_trains(framework: Framework) -> None:
    learner = framework.learner()
    result = learner.train_step(batch_of(random_images(1, SIZE), [2], classes=CLASSES), 1e-3)
    assert np.isfinite(result.loss)
    assert np.isfinite(learner.predict(random_images(1, SIZE))).all()


def augmentations() -> dict[str, Augmentation]:
    rng = np.random.default_rng(0)
    width = PROBE_SIZE[1]
    turned = np.eye(2, 3) + rng.uniform(-0.4, 0.4, (2, 2, 3))
    turned[:, :, 2] += rng.uniform(-2, 2, (2, 2))
    flip_and_shift = np.array([[[-1, 0, width - 1], [0, 1, 1]], [[1, 0, -2], [0, 1, 0]]])
    colour = np.eye(3, 4) + rng.uniform(-0.4, 0.4, (2, 3, 4))
    turned, flip_and_shift, colour = (
        x.astype(np.float32) for x in (turned, flip_and_shift, colour)
    )
    boxes = [[[0, 2, 1, 4], [3, 4, 0, 1]], [[0, 0, 0, 0], [1, 4, 2, 5]]]
    paint_HW3 = rng.random((*PROBE_SIZE, 3), np.float32)
    erased = Erase(np.array(boxes, np.int32), paint_HW3)
    partner_N = np.array([1, 0], np.int32)
    whole_4 = np.array([0, PROBE_SIZE[0], 0, width], np.int32)
    return {
        "warp": Augmentation(affine_N23=turned, colour_N34=None),
        "flip and shift": Augmentation(affine_N23=flip_and_shift, colour_N34=None),
        "colour": Augmentation(affine_N23=None, colour_N34=colour),
        "both": Augmentation(affine_N23=turned, colour_N34=colour),
        "neither": Augmentation(affine_N23=None, colour_N34=None),
        "reflected": Augmentation(affine_N23=3 * turned, reflect=True),
        "sharpened": Augmentation(sharpness_N=np.array([0.2, 1.9], np.float32)),
        "erased": Augmentation(erase=erased),
        "mixup": Augmentation(mix=Mix(partner_N, whole_4, 0.3)),
        "cutmix": Augmentation(mix=Mix(partner_N, np.array([1, 3, 2, 5], np.int32), 0.0)),
        "everything": Augmentation(
            affine_N23=turned,
            reflect=True,
            colour_N34=colour,
            sharpness_N=np.array([1.5, 0.5], np.float32),
            erase=erased,
            mix=Mix(partner_N, np.array([0, 3, 1, 4], np.int32), 0.25),
        ),
    }


@pytest.mark.parametrize("name", augmentations())
def test_a_step_sees_the_augmented_images(framework: Framework, name: str) -> None:
    # The probe's logits are 0 and the normalised pixels it is given, so the
    # losses of a step tell what it saw, whatever the framework.
    classes = 1 + 3 * PROBE_SIZE[0] * PROBE_SIZE[1]
    learner = framework.backend.build(
        framework.config(f"{framework.user_module}:probe"),
        num_classes=classes,
        image_size=PROBE_SIZE,
    )
    images, augmentation = random_images(2, PROBE_SIZE), augmentations()[name]
    log_p = log_probabilities(learner, images, augmentation, classes)
    pixels = 127.5 * (1 + log_p[:, 1:] - log_p[:, :1])
    np.testing.assert_allclose(pixels.reshape(images.shape), apply(images, augmentation), atol=0.02)


def test_drawn_batches_train_whatever_is_enabled(framework: Framework) -> None:
    learner = framework.learner()
    for augment in EVERYTHING:
        config = framework.config("small_cnn", batch_size=4, augment=augment)
        split = Split(random_images(6, SIZE), np.arange(6) % CLASSES)
        for batch in batches(split, config, np.ones(CLASSES, np.float32), epoch=1):
            assert np.isfinite(learner.train_step(batch, 1e-3).loss)


def test_snapshot_restores_exactly(framework: Framework) -> None:
    learner = framework.learner()
    images = random_images(5, SIZE)
    fit(learner, steps=2)
    before = learner.predict(images)
    snapshot = learner.snapshot()
    fit(learner, steps=3)
    assert not np.array_equal(learner.predict(images), before)
    learner.restore(snapshot)
    np.testing.assert_array_equal(learner.predict(images), before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_learner_goes_on_to_the_bit_from_another_s_state(
    framework: Framework, optimizer: Any, tmp_path: Path
) -> None:
    """With batch norm, dropout and momentum, through a file."""
    model = f"{framework.user_module}:dropping"
    learner = framework.learner(model, optimizer=optimizer)
    fit(learner, steps=3)
    np.savez(tmp_path / "state.npz", **learner.state())
    expected = [r.loss for r in fit(learner, steps=3)]
    assert len({*expected}) == 3
    other = framework.learner(model, optimizer=optimizer, seed=7)
    fit(other, steps=1)
    with np.load(tmp_path / "state.npz") as file:
        other.set_state(dict(file))
    assert [r.loss for r in fit(other, steps=3)] == expected
    after, same = learner.state(), other.state()
    assert after.keys() == same.keys()
    for name, array in after.items():
        np.testing.assert_array_equal(same[name], array, err_msg=name)


def test_what_a_learner_returned_does_not_change(framework: Framework) -> None:
    learner = framework.learner()
    fit(learner, steps=1)
    returned = [learner.state(), learner.snapshot()]
    copies = [{name: array.copy() for name, array in arrays.items()} for arrays in returned]
    fit(learner, steps=2)
    for arrays, copied in zip(returned, copies, strict=True):
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, copied[name], err_msg=name)


def test_same_seed_same_losses(framework: Framework) -> None:
    first, second = ([r.loss for r in fit(framework.learner(), steps=4)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 4


def test_saved_model_predicts_the_same(framework: Framework, saved: Saved) -> None:
    predictor: Predictor = framework.backend.load(saved.directory)
    scores = predictor.predict(saved.images_NHW3)
    np.testing.assert_allclose(scores, saved.scores_NC, atol=1e-5)


def test_tensorflow_module_predicts_the_same(saved: Saved, tmp_path: Path) -> None:
    import tensorflow as tf

    module = saved.learner.to_tensorflow()
    module.serve = tf.function(
        lambda images: {"scores": module(images)},
        input_signature=[tf.TensorSpec((None, *SIZE, 3), tf.uint8)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    for count in (1, 3, 8):
        images, expected = saved.images_NHW3[:count], saved.scores_NC[:count]
        scores = np.asarray(module(tf.constant(images)))
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        from_disk = loaded(images=tf.constant(images))["scores"]
        np.testing.assert_allclose(from_disk, expected, atol=1e-4)


def test_onnx_predicts_the_same(saved: Saved, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "model.onnx"
    saved.learner.to_onnx(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (images_in,), (scores_out,) = session.get_inputs(), session.get_outputs()
    assert (images_in.name, images_in.type) == ("images", "tensor(uint8)")
    assert images_in.shape[1:] == [*SIZE, 3] and isinstance(images_in.shape[0], str)
    assert (scores_out.name, scores_out.type) == ("scores", "tensor(float)")
    for count in (1, 3, 8):
        (scores,) = session.run(None, {"images": saved.images_NHW3[:count]})
        np.testing.assert_allclose(scores, saved.scores_NC[:count], atol=1e-4)


def test_every_format_has_the_weights_of_the_moment(framework: Framework, tmp_path: Path) -> None:
    import onnxruntime

    learner, images = framework.learner(), random_images(4, SIZE)
    learner.prepare_export()
    seen = []
    for number in range(2):
        fit(learner, steps=3)
        (folder := tmp_path / str(number)).mkdir()
        learner.save(folder)
        learner.to_onnx(folder / "model.onnx")
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        seen.append(learner.predict(images))
        for scores in (
            framework.backend.load(folder).predict(images),
            np.asarray(learner.to_tensorflow()(images)),
            session.run(None, {"images": images})[0],
        ):
            np.testing.assert_allclose(scores, seen[-1], atol=1e-5)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3


@pytest.mark.parametrize(("model", "weights"), [("small_cnn", 94_762), ("resnet20", 272_474)])
def test_built_in_models_have_as_many_weights_in_every_framework(
    framework: Framework, model: str, weights: int
) -> None:
    assert model in get_framework(framework.name).model_names()
    count = framework.backend.count_parameters(model, num_classes=10, image_size=(32, 32))
    assert count == weights
    learner = framework.backend.build(framework.config(model), num_classes=10, image_size=(32, 32))
    assert learner.parameter_count == weights


def test_users_own_model_takes_its_arguments(framework: Framework) -> None:
    learner = framework.learner(f"{framework.user_module}:linear", model_args={"width": 2})
    assert learner.parameter_count == (3 * 16 * 16 + 1) * 2 + (2 + 1) * CLASSES
    assert len({r.loss for r in fit(learner, steps=2)}) == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("small_cnm", "'small_cnn'"),
        ("no_such_package.models:net", "no_such_package"),
        ("{module}_broken:net", "a_package_that_is_not_there"),
        ("{module}:linaer", "'linear'"),
        ("{module}:failing", "no such layer"),
        ("{module}:number", "number"),
        ("{module}:wide", rf"{CLASSES + 1}\)"),
    ],
)
def test_models_that_cannot_be_used_are_refused(
    framework: Framework, model: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        framework.learner(model.format(module=framework.user_module))


def test_arguments_a_model_does_not_have_are_refused(framework: Framework) -> None:
    with pytest.raises(ConfigError, match="model_args"):
        framework.learner("small_cnn", model_args={"depth": 3})


def test_images_too_small_for_the_model_are_refused(framework: Framework) -> None:
    with pytest.raises(ConfigError, match=r"small_cnn.*4×4"):
        framework.learner("small_cnn", size=(4, 4))


def test_weights_that_are_not_there_are_refused(framework: Framework, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        framework.learner(pretrained=str(tmp_path / "nowhere"))


def test_versions_name_the_framework(framework: Framework) -> None:
    versions = framework.backend.versions()
    assert {"keras": "keras", "pytorch": "torch"}[framework.name] in versions
    assert all(versions.values())


def test_a_mirrored_models_scores_are_the_mean_of_two(framework: Framework, tmp_path: Path) -> None:
    images = random_images(5, SIZE)
    plain = framework.learner()
    mirrored = framework.learner(test_time_augmentation="flip")
    mirrored.restore(plain.snapshot())
    expected = (plain.predict(images) + plain.predict(images[:, :, ::-1])) / 2
    assert np.abs(expected - plain.predict(images)).max() > 1e-4
    mirrored.save(tmp_path)
    mirrored.to_onnx(tmp_path / "model.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    answers = {
        "learner": mirrored.predict(images),
        "native": framework.backend.load(tmp_path).predict(images),
        "tensorflow": np.asarray(mirrored.to_tensorflow()(images)),
        "onnx": session.run(["scores"], {"images": images})[0],
    }
    for name, scores in answers.items():
        np.testing.assert_allclose(scores, expected, atol=1e-5, err_msg=name)
