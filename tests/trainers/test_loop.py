"""The training loop, on a real learner that needs no framework."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from softmax_regression import SoftmaxRegression, bright_and_dark

from common.errors import TrainingError
from modelstore.tasks import TASKS
from trainers.config import AugmentConfig, TrainConfig
from trainers.data import Split, batches
from trainers.loop import Epoch, chosen, evaluate, train, why

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

EPOCH = Epoch(
    epoch=1,
    **{f.name: 1.0 for f in dataclasses.fields(Epoch) if f.name != "epoch"},
)


@dataclasses.dataclass
class Run:
    epochs: list[Epoch]
    learner: SoftmaxRegression
    reports: list[dict]
    reported: list[Epoch]


def run(*, train_split=TRAIN, val_split=VAL, weights_C=ONES, **settings) -> Run:
    config = {"epochs": 4, "batch_size": 8, "learning_rate": 0.5, "augment": OFF, **settings}
    config |= {"ema_decay": 0.9} if config.get("best") == "ema" else {}
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
    weights_C = np.array([1, 3], np.float32)
    assert (epoch.val_loss, epoch.val_metric) == evaluate(TASK, done.learner, VAL, weights_C)
    scores_NC = done.learner.predict(VAL.images_NHW3)
    losses_N = -np.log(scores_NC[np.arange(20), VAL.labels_N])
    weighted = np.average(losses_N, weights=weights_C[VAL.labels_N])
    assert epoch.val_loss == pytest.approx(weighted, rel=1e-5)


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


@pytest.mark.parametrize("best", ["accuracy", "loss", "last", "ema"])
def test_the_weights_of_the_epoch_that_is_asked_for_are_kept(best):
    done = run(**UPS_AND_DOWNS, best=best)
    losses, metrics = ([getattr(e, n) for e in done.epochs] for n in ("val_loss", "val_metric"))
    assert 0 < losses.index(min(losses)) < len(losses) - 1 == 11
    figures = list(zip(metrics, [-loss for loss in losses], strict=True))
    index = {"accuracy": figures.index(max(figures)), "last": 11}.get(
        best, losses.index(min(losses))
    )
    assert evaluate(TASK, done.learner, VAL, ONES) == (losses[index], metrics[index])
    averaged = {"ema_decay": 0.9} if best == "ema" else {}
    config = TrainConfig(framework="keras", model="m", best=best, **averaged)
    assert chosen(config, done.epochs) is done.epochs[index]
    words = {"accuracy": "greatest validation accuracy", "last": "the last", "ema": "averaged"}
    said = why(config, done.epochs)
    assert f"The weights of epoch {index + 1} of 12 are exported: " in said
    assert words.get(best, "least validation loss") in said


def test_the_most_accurate_epoch_may_have_a_greater_loss():
    def epoch(number, loss, accuracy):
        return dataclasses.replace(EPOCH, epoch=number, val_loss=loss, val_metric=accuracy)

    epochs = [epoch(1, 0.5, 0.19), epoch(2, 0.9, 0.44), epoch(3, 0.8, 0.44), epoch(4, 0.8, 0.44)]
    settings = {"framework": "keras", "model": "m"}
    assert chosen(TrainConfig(**settings), epochs).epoch == 3, "of equals the least loss, the first"
    assert chosen(TrainConfig(**settings, best="loss"), epochs).epoch == 1


def test_a_better_epoch_is_one_of_the_classes_that_weigh(tmp_path):
    """Weights that make one class count for everything."""
    weights_C = np.array([0, 1], np.float32)
    done = run(weights_C=weights_C, best="loss", **UPS_AND_DOWNS)
    only = VAL.labels_N == 1
    of_class = Split(VAL.images_NHW3[only], VAL.labels_N[only])
    assert evaluate(TASK, done.learner, VAL, weights_C)[0] == pytest.approx(
        evaluate(TASK, done.learner, of_class, ONES)[0]
    )


def test_the_average_is_validated_and_exported_and_the_training_goes_on_without_it():
    plain, averaged = run(best="last"), run(best="ema")
    assert [b.labels_N.tolist() for b in plain.learner.batches] == [
        b.labels_N.tolist() for b in averaged.learner.batches
    ]
    assert [e.loss for e in plain.epochs] == [e.loss for e in averaged.epochs]
    assert [e.val_loss for e in plain.epochs] != [e.val_loss for e in averaged.epochs]


@pytest.mark.parametrize("best", ["loss", "last"])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_early_stopping_waits_as_long_as_told(patience, best):
    settings = {**UPS_AND_DOWNS, "best": best}
    losses = [e.val_loss for e in run(**settings).epochs]
    stops = next(n for n in range(1, 13) if n - 1 - losses.index(min(losses[:n])) >= patience)
    done = run(**settings, early_stopping_patience=patience)
    assert stops < 12
    assert [e.val_loss for e in done.epochs] == losses[:stops]
    kept = losses[stops - 1] if best == "last" else min(losses[:stops])
    assert evaluate(TASK, done.learner, VAL, ONES)[0] == kept


def test_a_diverging_training_names_epoch_step_and_remedy():
    with pytest.raises(TrainingError) as e:
        run(learning_rate=1e308, warmup_epochs=0)
    message = str(e.value)
    assert message.startswith(("The loss became nan in epoch 1, step", "The loss became inf in"))
    named = re.search(r"its batch has the images ([\d, ]+) of the arrays of train, from 0", message)
    step = int(re.search(r"step (\d+);", message)[1])
    config = TrainConfig(framework="keras", model="m", batch_size=8, augment=OFF)
    batch = list(batches(TRAIN, config, ONES, epoch=1))[step - 1]
    assert [int(n) for n in named[1].split(", ")] == batch.places_N.tolist()
    assert (TRAIN.images_NHW3[batch.places_N] == batch.images_NHW3).all()
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
    loss, accuracy = evaluate(TASK, learner, split, ONES)
    of_label_N = scores_NC[np.arange(600), split.labels_N]
    assert loss == pytest.approx(-np.log(of_label_N.astype(np.float64)).mean())
    assert accuracy == (scores_NC.argmax(1) == split.labels_N).mean()
