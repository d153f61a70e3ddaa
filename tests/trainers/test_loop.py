"""The training loop, on a real learner that needs no framework."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from softmax_regression import SoftmaxRegression, bright_and_dark

from common.errors import TrainingError
from modelstore.tasks import TASKS
from trainers.config import AugmentConfig, TrainConfig
from trainers.data import Split, batches
from trainers.loop import Epoch, evaluate, train

pytestmark = pytest.mark.quick

OFF = AugmentConfig(horizontal_flip=False, crop_padding=0.0)
TRAIN, VAL = bright_and_dark(40), bright_and_dark(20, seed=1)
ONES = np.ones(2, np.float32)
TASK = TASKS["classification"]
UPS_AND_DOWNS = {
    "train_split": bright_and_dark(30, noise=0.3, seed=2),
    "epochs": 12,
    "learning_rate": 1.0,
}
"""Wrong labels make the validation loss go up and down; its least is in the middle."""


@dataclasses.dataclass
class Run:
    epochs: list[Epoch]
    learner: SoftmaxRegression
    reports: list[dict]
    reported: list[Epoch]


def run(*, train_split=TRAIN, val_split=VAL, weights_C=ONES, **settings) -> Run:
    config = {"epochs": 4, "batch_size": 8, "learning_rate": 0.5, "augment": OFF, **settings}
    pixels = train_split.images_NHW3[0].size
    learner, reports, reported = SoftmaxRegression(pixels, 2), [], []
    epochs = train(
        learner,
        TrainConfig(framework="keras", model="m", **config),
        train_split,
        val_split,
        weights_C,
        report=reports.append,
        after_epoch=reported.append,
    )
    return Run(epochs, learner, reports, reported)


def test_it_learns_and_keeps_account():
    done = run()
    epochs = done.epochs
    assert [e.epoch for e in epochs] == [1, 2, 3, 4] and done.reported == epochs
    assert epochs[-1].val_loss < epochs[0].val_loss < math.log(2)
    assert epochs[-1].val_metric == 1.0
    assert all(e.seconds > 0 and e.images_per_second > 0 for e in epochs)
    assert epochs[-1].learning_rate == done.learner.rates[-1]


def test_the_first_epoch_s_figures_by_hand():
    done = run(epochs=1, batch_size=40, weights_C=np.array([1, 3], np.float32))
    (epoch,) = done.epochs
    assert epoch.loss == pytest.approx(math.log(2))  # of zero weights
    assert epoch.metric == 0.5
    assert (epoch.val_loss, epoch.val_metric) == evaluate(TASK, done.learner, VAL)
    scores_NC = done.learner.predict(VAL.images_NHW3)
    of_label_N = scores_NC[np.arange(20), VAL.labels_N]
    assert epoch.val_loss == pytest.approx(-np.log(of_label_N).mean(), rel=1e-5)


def test_reports_say_where_training_is():
    done = run()
    first = done.reports[0]
    assert (first["epoch"], first["epochs"], first["step"], first["steps"]) == (1, 4, 1, 20)
    assert first["loss"] == pytest.approx(math.log(2))
    steps = [r["step"] for r in done.reports]
    assert steps == sorted(set(steps))


def test_warmup_is_at_most_a_fifth_and_the_rate_is_that_of_the_schedule():
    rates = run(epochs=5, warmup_epochs=3.0).learner.rates  # 25 steps
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[5] == pytest.approx(0.5) and rates[5:] == sorted(rates[5:], reverse=True)
    assert run(warmup_epochs=0).learner.rates[0] == 0.5


def test_the_batches_are_those_of_trainers_data():
    done = run(seed=3, augment=AugmentConfig())
    config = TrainConfig(framework="keras", model="m", seed=3, batch_size=8)
    expected = [b for number in (1, 2, 3, 4) for b in batches(TRAIN, config, ONES, epoch=number)]
    assert len(expected) == len(done.learner.batches) == 20
    for a, b in zip(expected, done.learner.batches, strict=True):
        assert (a.images_NHW3 == b.images_NHW3).all() and (a.labels_N == b.labels_N).all()
        assert (a.augmentation.affine_N23 == b.augmentation.affine_N23).all()


def test_equal_seeds_give_equal_models_and_others_do_not():
    one, same, other = run(seed=1), run(seed=1), run(seed=2)
    assert (one.learner.weights_PC == same.learner.weights_PC).all()
    assert (one.learner.weights_PC != other.learner.weights_PC).any()


def test_the_weights_of_the_best_epoch_are_kept():
    done = run(**UPS_AND_DOWNS)
    losses = [e.val_loss for e in done.epochs]
    assert 0 < losses.index(min(losses)) < len(losses) - 1 == 11
    assert evaluate(TASK, done.learner, VAL)[0] == min(losses) != losses[-1]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_early_stopping_waits_as_long_as_told(patience):
    losses = [e.val_loss for e in run(**UPS_AND_DOWNS).epochs]
    stops = next(n for n in range(1, 13) if n - 1 - losses.index(min(losses[:n])) >= patience)
    done = run(**UPS_AND_DOWNS, early_stopping_patience=patience)
    assert stops < 12
    assert [e.val_loss for e in done.epochs] == losses[:stops]
    assert evaluate(TASK, done.learner, VAL)[0] == min(losses[:stops])


def test_a_diverging_training_names_epoch_step_and_remedy():
    with pytest.raises(TrainingError) as e:
        run(learning_rate=1e308, warmup_epochs=0)
    message = str(e.value)
    assert message.startswith(("The loss became nan in epoch 1, step", "The loss became inf in"))
    assert "Try a lower train.learning_rate (it is 1e+308)" in message
    assert "train.warmup_epochs" in message


def test_weights_that_go_wrong_in_the_last_step_are_found_by_validation():
    big = {"train_split": bright_and_dark(40, size=8), "val_split": bright_and_dark(4, size=8)}
    with pytest.raises(TrainingError, match="The loss became nan in epoch 1, step 1"):
        run(**big, learning_rate=1e308, warmup_epochs=0, batch_size=40, epochs=1)


def test_one_image_is_enough():
    one = Split(TRAIN.images_NHW3[:1], TRAIN.labels_N[:1])
    assert len(run(train_split=one, val_split=one).epochs) == 4


def test_evaluation_takes_any_number_of_images():
    learner = SoftmaxRegression(12, 2)
    learner.weights_PC[:] = np.random.default_rng(0).normal(size=(13, 2))
    split = bright_and_dark(600, noise=0.3)
    scores_NC = learner.predict(split.images_NHW3)
    loss, accuracy = evaluate(TASK, learner, split)
    of_label_N = scores_NC[np.arange(600), split.labels_N]
    assert loss == pytest.approx(-np.log(of_label_N.astype(np.float64)).mean())
    assert accuracy == (scores_NC.argmax(1) == split.labels_N).mean()
