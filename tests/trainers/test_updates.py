"""What both frameworks' optimizers agree on, and which settings are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from softmax_regression import SoftmaxRegression, bright_and_dark

from common.errors import ConfigError
from trainers.config import TrainConfig
from trainers.data import batches
from trainers.frameworks import OPTIONAL, frameworks
from trainers.loop import train
from trainers.updates import average_decay, betas, treatment

pytestmark = pytest.mark.quick

ONES = np.ones(2, np.float32)


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"framework": "keras", "model": "m", **settings})


@given(last=st.integers(0, 30), decay=st.floats(0.1, 1))
def test_rates_rise_to_that_of_the_head(last: int, decay: float) -> None:
    settings = config(layer_decay=decay)
    rates = [
        treatment(settings, dimensions=2, is_kernel=True, layer=layer, last=last).rate
        for layer in range(last + 1)
    ]
    assert rates == sorted(rates)
    assert rates[-1] == 1
    assert rates[0] == pytest.approx(decay**last)


def test_only_weights_of_several_dimensions_decay_and_adapt() -> None:
    for dimensions in (0, 1, 2, 4):
        how = treatment(
            config(weight_decay=0.1), dimensions=dimensions, is_kernel=False, layer=0, last=0
        )
        assert how.decay == (0.1 if dimensions > 1 else 0)
        assert how.adapts == (dimensions > 1)


def test_muon_takes_kernels_between_first_and_last_layer() -> None:
    def hidden(optimizer: str, is_kernel: bool) -> list[int]:
        settings = config(optimizer=optimizer)
        return [
            layer
            for layer in range(4)
            if treatment(settings, dimensions=4, is_kernel=is_kernel, layer=layer, last=3).is_hidden
        ]

    assert hidden("muon", True) == [1, 2]
    assert hidden("muon", False) == hidden("adamw", True) == []


def test_betas_are_the_papers_unless_they_are_given() -> None:
    assert betas(config()) == (0.9, 0.999)
    assert betas(config(optimizer="lion")) == (0.9, 0.99)
    assert betas(config(optimizer="lion", beta_1=0.5, beta_2=0.0)) == (0.5, 0.0)


@given(decay=st.floats(0, 0.9999), step=st.integers(1, 10**6))
def test_the_average_keeps_more_from_step_to_step(decay: float, step: int) -> None:
    assert average_decay(decay, step) <= average_decay(decay, step + 1) <= decay
    assert average_decay(decay, 10**9) == decay


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nesterov": True}, "nesterov: expected optimizer sgd with a momentum above 0, got adamw"),
        ({"nesterov": True, "optimizer": "sgd", "momentum": 0.0}, r"got sgd with 0\.0"),
        ({"layer_decay": 0.0}, "layer_decay: expected more than 0 and at most 1"),
        ({"layer_decay": 1.5}, "layer_decay: expected more than 0 and at most 1"),
        ({"ema_decay": 1.0}, "ema_decay: expected 0 or more and less than 1"),
        ({"clip_norm": -1.0}, "clip_norm: expected 0 or more"),
        ({"accumulate_steps": 0}, "accumulate_steps: expected 1 or more"),
        ({"beta_2": 1.0}, "beta_2: expected 0 or more and less than 1"),
        ({"epsilon": 0.0}, "epsilon: expected more than 0"),
        ({"optimizer": "adagrad"}, "optimizer: expected one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**settings)


def test_visionlines_own_frameworks_have_everything() -> None:
    assert all(frameworks()[name].honours == OPTIONAL for name in ("keras", "pytorch"))


@pytest.mark.parametrize(
    ("accumulate_steps", "updates"),
    [(1, [True] * 5), (2, [False, True, False, True, True]), (9, [False] * 4 + [True])],
)
def test_each_group_of_batches_makes_a_step_and_so_does_the_last(
    accumulate_steps: int, updates: list[bool]
) -> None:
    settings = config(batch_size=8, accumulate_steps=accumulate_steps)
    split = bright_and_dark(36)
    made = [*batches(split, settings, ONES, epoch=1)]
    assert [batch.update for batch in made] == updates
    later = [*batches(split, settings, ONES, epoch=1, after=3)]
    assert [batch.update for batch in later] == updates[3:]


def test_the_schedule_counts_the_steps_of_the_optimizer() -> None:
    learner = SoftmaxRegression(12, 2)
    reports: list[dict[str, Any]] = []
    train(
        learner,
        config(batch_size=8, accumulate_steps=2, epochs=2, warmup_epochs=0.0),
        bright_and_dark(36),
        bright_and_dark(8),
        ONES,
        report=reports.append,
    )
    # Five batches an epoch: steps of two, two and one.
    expected = [1e-3 * 0.5 * (1 + np.cos(np.pi * step / 6)) for step in range(6)]
    numbers = [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    np.testing.assert_allclose(learner.rates, [expected[number] for number in numbers])
    assert reports[0]["steps"] == 10, "of progress: batches"
