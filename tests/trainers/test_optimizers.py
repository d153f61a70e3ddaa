"""Optimizers and what surrounds them in a step: the same in every framework."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import optimizer_reference
import pytest
import test_backend_contract as contract
from batch_of import batch_of
from test_backend_contract import CLASSES, SIZE, Framework, coloured_batch, fit, random_images

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.contract import Learner, load_backend
from trainers.updates import average_decay

framework = contract.framework


@pytest.fixture(autouse=True, scope="module")
def configured() -> None:
    """TensorFlow takes no number of threads after its first operation."""
    load_backend("keras").configure(threads=2, seed=0)


RATE = 1e-3
SHAPES = [(4, 3, 3, 3), (4,), (4,), (6, 4, 3, 3), (6,), (6,), (5, 6), (5,), (3, 5), (3,)]
"""Stem and norm, convolution and norm, dense layer, head; as PyTorch has them."""
HIDDEN = {3, 6}
Arrays = list[Any]


def torch_steps(
    config: TrainConfig, weights: Arrays, gradients: list[Arrays], restart: int
) -> Arrays:
    import torch
    from torch import nn

    from trainers.torch_backend import optimizer

    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
        *(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)),
        *(nn.Linear(6, 5), nn.Linear(5, 3)),
    )
    parameters = [*net.parameters()]
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.data = torch.tensor(weight)
    stepper = optimizer.make(net, config)
    for number, step in enumerate(gradients):
        if number == restart:
            state = copy.deepcopy(stepper.state_dict())
            stepper = optimizer.make(net, config)
            stepper.load_state_dict(state)
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.set_rate(stepper, RATE)
        stepper.step()
    return [parameter.detach().numpy() for parameter in parameters]


def keras_steps(
    config: TrainConfig, weights: Arrays, gradients: list[Arrays], restart: int
) -> Arrays:
    import keras
    import tensorflow as tf
    from keras import layers

    from trainers.keras_backend import optimizer

    model = keras.Sequential(
        [
            keras.Input((7, 7, 3)),
            *(layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization()),
            *(layers.Conv2D(6, 3, use_bias=False), layers.BatchNormalization()),
            *(layers.GlobalAveragePooling2D(), layers.Dense(5), layers.Dense(3)),
        ]
    )
    variables = model.trainable_variables
    for variable, weight in zip(variables, weights, strict=True):
        variable.assign(_in_keras(weight))
    stepper = optimizer.make(model, config)
    for number, step in enumerate(gradients):
        if number in (0, restart):
            state = [variable.numpy() for variable in stepper.variables]
            stepper = optimizer.make(model, config)
            for variable, value in zip(stepper.variables, state, strict=True):
                variable.assign(value)
            apply = tf.function(stepper.apply, autograph=False)
        apply([tf.constant(_in_keras(g)) for g in step], tf.constant(RATE))
    return [_in_torch(variable.numpy()) for variable in variables]


def _in_keras(weight: Any) -> Any:
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def _in_torch(weight: Any) -> Any:
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T


@pytest.mark.parametrize("steps", [keras_steps, torch_steps])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "nesterov": True},
        {"optimizer": "adam"},
        {"optimizer": "adamw", "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        {"optimizer": "lamb"},
        {"optimizer": "lamb", "weight_decay": 0.0},
        {"optimizer": "lion"},
        {"optimizer": "muon", "momentum": 0.95},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_twenty_steps_are_those_of_the_papers(
    steps: Callable[..., Arrays], settings: dict[str, Any]
) -> None:
    # A new optimizer takes the state over in the middle, as after a checkpoint.
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]
    gradients = [[rng.normal(size=s).astype(np.float32) for s in SHAPES] for _ in range(20)]
    config = TrainConfig(
        **{"framework": "pytorch", "model": "m", "weight_decay": 0.1, **settings}  # type: ignore[arg-type]
    )
    expected = optimizer_reference.steps(config, weights, gradients, RATE, HIDDEN)
    result = steps(config, weights, gradients, restart=11)
    for found, weight, start in zip(result, expected, weights, strict=True):
        assert np.abs(weight - start).max() > 1e-3
        np.testing.assert_allclose(found, weight, atol=1e-5, rtol=0)


def linear(framework: Framework, **values: Any) -> Learner:
    return framework.learner(f"{framework.user_module}:linear", **values)


def weights_of(learner: Learner) -> list[Any]:
    snapshot = learner.snapshot()
    values = snapshot.values() if isinstance(snapshot, dict) else snapshot
    return [np.array(value, np.float64) for value in values]


def moved(learner: Learner, step: Callable[[], object]) -> list[Any]:
    """How far a step moves each weight."""
    before = weights_of(learner)
    step()
    return [after - start for after, start in zip(weights_of(learner), before, strict=True)]


def test_clipping_bounds_the_norm_over_all_weights(framework: Framework) -> None:
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}

    def move(clip_norm: float) -> Any:
        learner = linear(framework, clip_norm=clip_norm, **plain)
        parts = moved(learner, lambda: learner.train_step(coloured_batch(), 1.0))
        return np.concatenate([part.ravel() for part in parts])

    whole = move(0.0)
    norm = float(np.linalg.norm(whole))
    np.testing.assert_allclose(move(norm / 10), whole / 10, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(move(norm * 10), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_accumulated_batches_are_one_large_batch(framework: Framework, optimizer: Any) -> None:
    weights = np.random.default_rng(0).uniform(0, 2, 32)
    images, labels = random_images(32, SIZE), np.arange(32) % CLASSES
    values = {"optimizer": optimizer, "clip_norm": 0.5, "ema_decay": 0.9}
    large = linear(framework, **values)
    small = linear(framework, accumulate_steps=4, **values)
    for _ in range(2):
        large.train_step(batch_of(images, labels, weights, classes=CLASSES), 1e-3)
        before = weights_of(small)
        for number in range(4):
            for now, then in zip(weights_of(small), before, strict=True):
                np.testing.assert_array_equal(now, then)
            part = slice(8 * number, 8 * number + 8)
            batch = batch_of(
                images[part], labels[part], weights[part], classes=CLASSES, update=number == 3
            )
            small.train_step(batch, 1e-3)
    for _ in range(2):
        for one, four in zip(weights_of(large), weights_of(small), strict=True):
            np.testing.assert_allclose(four, one, atol=1e-5, rtol=0)
        large.exchange_average()
        small.exchange_average()


def test_accumulated_batches_that_weigh_nothing_do_no_harm(framework: Framework) -> None:
    learner = linear(framework, accumulate_steps=2, optimizer="sgd", weight_decay=0.0)
    for update in (False, True):
        batch = batch_of(random_images(3, SIZE), [0, 1, 2], np.zeros(3), update=update)
        change = moved(learner, lambda batch=batch: learner.train_step(batch, 1.0))
        assert all((part == 0).all() for part in change)


def test_the_first_layers_move_least(framework: Framework) -> None:
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}

    def move(layer_decay: float) -> list[Any]:
        learner = framework.learner(layer_decay=layer_decay, **plain)
        return moved(learner, lambda: learner.train_step(coloured_batch(), 2.0**-4))

    factors = [
        np.linalg.norm(part) / np.linalg.norm(whole)
        for part, whole in zip(move(0.5), move(1.0), strict=True)
        if np.linalg.norm(whole)
    ]
    # Three convolutions, each with its norm's scale, offset and running statistics; and the
    # head.  Statistics and the counter of batches have no rate.
    rates = [0.125] * 3 + [0.25] * 3 + [0.5] * 3 + [1.0] * 2
    np.testing.assert_allclose(sorted(f for f in factors if f < 1 - 1e-6), rates[:9], rtol=1e-3)
    np.testing.assert_allclose(factors[-2:], rates[-2:], rtol=1e-6)


ARCHITECTURES = {
    "keras": {
        "ResNet50": ("conv1_conv", "conv4_block2_", "conv4_block3_", 18),
        "MobileNetV2": ("Conv1", "block_5_", "block_6_", 20),
        "MobileNetV3Small": ("conv/", "expanded_conv_3_", "expanded_conv_4_", 15),
        "EfficientNetB0": ("stem_conv", "block3a_", "block3b_", 19),
        "ConvNeXtTiny": (
            "convnext_tiny_stem",
            "_tiny_stage_1_block_1_",
            "_tiny_stage_1_block_2_",
            23,
        ),
        "VGG16": ("block1_conv1", "block2_", "block3_", 8),
    },
    "pytorch": {
        "resnet50": ("conv1", "layer3.1.", "layer3.2.", 18),
        "mobilenetv3_small_100": ("conv_stem", "blocks.2.1", "blocks.2.2", 14),
        "efficientnet_b0": ("conv_stem", "blocks.2.0", "blocks.2.1", 18),
        "vit_tiny_patch16_224": ("patch_embed", "blocks.5.", "blocks.6.", 14),
        "convnext_atto": ("stem", "stages.1.blocks.0", "stages.1.blocks.1", 14),
        "swin_tiny_patch4_window7_224": (
            "patch_embed",
            "layers.2.blocks.1.",
            "layers.2.blocks.2.",
            14,
        ),
    },
}
"""First layer, two blocks that follow each other, and how many groups there are."""


@pytest.mark.parametrize(
    ("name", "model"), [(name, model) for name, models in ARCHITECTURES.items() for model in models]
)
def test_groups_are_blocks_from_stem_to_head(name: str, model: str) -> None:
    groups = groups_of(name, model)
    stem, block, following, count = ARCHITECTURES[name][model]
    assert sorted(set(groups.values())) == [*range(count)]
    assert {group for key, group in groups.items() if key.startswith(stem)} == {0}
    (first,) = {group for key, group in groups.items() if block in key}
    (second,) = {group for key, group in groups.items() if following in key}
    assert second == first + 1
    assert [*groups.values()][-1] == count - 1
    assert sum(group == count - 1 for group in groups.values()) <= 4


def groups_of(name: str, model: str) -> dict[str, int]:
    if name == "keras":
        from trainers.keras_backend import models
        from trainers.keras_backend.layer_groups import layer_groups

        built = models.build(model, {}, num_classes=3, image_size=(224, 224))
        return {variable.path: group for variable, group in layer_groups(built)}
    import torch

    from trainers.torch_backend import layer_groups as torch_groups
    from trainers.torch_backend import models as torch_models

    with torch.device("meta"):
        net = torch_models.build_net(model, {}, num_classes=3, image_size=(224, 224))
    return torch_groups.layer_groups(net)


def test_the_moving_average_is_numpys(framework: Framework) -> None:
    learner = framework.learner(ema_decay=0.3)
    images = random_images(5, SIZE)
    average = weights_of(learner)
    for step in range(1, 7):
        fit(learner, steps=1)
        kept = average_decay(0.3, step)
        assert kept == min(0.3, (1 + step) / (10 + step))
        average = [
            kept * a + (1 - kept) * w for a, w in zip(average, weights_of(learner), strict=True)
        ]
    weights, scores = weights_of(learner), learner.predict(images)
    learner.exchange_average()
    assert not np.array_equal(learner.predict(images), scores)
    for found, expected, last in zip(weights_of(learner), average, weights, strict=True):
        if np.array_equal(last, np.round(last)) and last.ndim == 0:
            continue  # PyTorch counts batches
        np.testing.assert_allclose(found, expected, atol=1e-5)
    learner.exchange_average()
    np.testing.assert_array_equal(learner.predict(images), scores)
    for found, last in zip(weights_of(learner), weights, strict=True):
        np.testing.assert_array_equal(found, last)
    fit(learner, steps=1)


def test_the_average_trains_on_as_if_it_had_not_been_looked_at(framework: Framework) -> None:
    losses = []
    for looks in (False, True):
        learner = framework.learner(ema_decay=0.9, optimizer="muon")
        losses.append([r.loss for r in fit(learner, steps=2)])
        for _ in range(2 * looks):
            learner.exchange_average()
        losses[-1] += [r.loss for r in fit(learner, steps=2)]
    assert losses[0] == losses[1]


def test_a_model_with_nothing_to_train_is_refused(framework: Framework) -> None:
    with pytest.raises(ConfigError, match=r":frozen to have weights that can be trained"):
        framework.learner(f"{framework.user_module}:frozen")


def test_stochastic_depth_is_an_argument_of_timms_models() -> None:
    from trainers.torch_backend import backend

    def losses(rate: float) -> set[float]:
        config = TrainConfig(
            framework="pytorch", model="mobilenetv3_small_100", model_args={"drop_path_rate": rate}
        )
        learner = backend.build(config, num_classes=CLASSES, image_size=(32, 32))
        batch = batch_of(random_images(4, (32, 32)), [0, 1, 2, 0])
        return {learner.train_step(batch, 0.0).loss for _ in range(3)}

    assert len(losses(0.0)) == 1
    assert len(losses(0.9)) == 3


def test_stochastic_depth_of_keras_applications_is_their_own() -> None:
    from trainers.keras_backend import models

    with pytest.raises(ConfigError, match="no argument 'drop_path_rate'"):
        models.build(
            "ConvNeXtTiny", {"drop_path_rate": 0.1}, num_classes=CLASSES, image_size=(32, 32)
        )


@pytest.mark.parametrize("accumulate_steps", [1, 3])
def test_keras_traces_a_step_once(monkeypatch: pytest.MonkeyPatch, accumulate_steps: int) -> None:
    from trainers.keras_backend import backend
    from trainers.keras_backend.updates import Updates

    traces: list[str] = []
    step = Updates.step

    def counted(self: Updates, *arguments: Any) -> None:
        traces.append("step")
        step(self, *arguments)

    monkeypatch.setattr(Updates, "step", counted)
    config = TrainConfig(
        framework="keras",
        model="small_cnn",
        **{"optimizer": "muon", "ema_decay": 0.9, "clip_norm": 1.0, "layer_decay": 0.7},  # type: ignore[arg-type]
        accumulate_steps=accumulate_steps,
    )
    learner = backend.build(config, num_classes=CLASSES, image_size=SIZE)
    for number in range(1, 7):
        batch = coloured_batch(12 - number)
        update = number % accumulate_steps == 0
        learner.train_step(
            batch_of(batch.images_NHW3, batch.labels_N, classes=CLASSES, update=update),
            0.1 / number,
        )
    assert traces == ["step"]
