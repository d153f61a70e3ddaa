"""The learning rate: warm-up, then one of the schedules."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.config.strict import parse
from common.errors import ConfigError
from trainers.config import ScheduleConfig, TrainConfig
from trainers.schedules import learning_rate

pytestmark = pytest.mark.quick

PEAK = 2.0
NAMES = ("constant", "step", "cosine", "one_cycle", "wsd")
WITH_FINAL = ("cosine", "one_cycle", "wsd")


def rates(
    epochs: int, steps_per_epoch: int, *, warmup: float = 0.0, **schedule: Any
) -> list[float]:
    """All of a training, and one step more."""
    config = TrainConfig(
        framework="keras",
        model="m",
        epochs=epochs,
        learning_rate=PEAK,
        warmup_epochs=warmup,
        schedule=ScheduleConfig(**schedule),
    )
    steps = range(epochs * steps_per_epoch + 1)
    return [learning_rate(s, config=config, steps_per_epoch=steps_per_epoch) for s in steps]


def test_the_default_by_hand():
    made = rates(6, 2, warmup=1)  # 12 steps, of which two warm up
    assert made[:2] == pytest.approx([1.0, 2.0])
    assert made[2] == PEAK  # the cosine starts at the peak
    assert made[7] == pytest.approx(1.0)  # and is at half of it in the middle
    assert made[11] == pytest.approx(1 - math.cos(math.pi / 10))
    assert made[12] == pytest.approx(0)


def test_step_falls_at_the_milestones_and_then_again_and_again():
    made = rates(6, 4, name="step", milestones=(2, 4.5), factor=0.5)
    assert made == [2.0] * 8 + [1.0] * 10 + [0.5] * 7
    made = rates(5, 2, name="step", every_epochs=2, factor=0.1, warmup=1)
    assert made == pytest.approx([1, *[2] * 3, *[0.2] * 4, *[0.02] * 3])


def test_wsd_stays_and_then_decays_by_one_minus_the_root():
    made = rates(10, 10, name="wsd", final=0.1, decay_share=0.25, warmup=1)
    assert made[:10] == pytest.approx([PEAK * n / 10 for n in range(1, 11)])
    assert made[10:76] == [PEAK] * 66  # the decay begins with the peak, at step 75
    for step in (80, 90, 99, 100):
        share = 0.1 + 0.9 * (1 - math.sqrt((step - 75) / 25))
        assert made[step] == pytest.approx(PEAK * share)


def test_cycles_begin_at_lower_and_lower_peaks():
    made = rates(10, 3, cycles=3, cycle_decay=0.5, final=0.1)
    assert [made[0], made[10], made[20]] == [2.0, 1.0, 0.5]
    assert all(a > b for n in (0, 10, 20) for a, b in itertools.pairwise(made[n : n + 10]))
    assert min(made) == pytest.approx(0.1 * PEAK)


@st.composite
def schedules(draw: st.DrawFn, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    if name in WITH_FINAL:
        made["final"] = draw(st.floats(0, 1))
    if name == "step":
        made["milestones"] = tuple(draw(st.lists(st.floats(0.01, 30), min_size=1)))
        made["factor"] = draw(st.floats(0.01, 1))
    if name == "cosine":
        made |= {"cycles": draw(st.integers(1, 40)), "cycle_decay": draw(st.floats(0.01, 1))}
    if name == "one_cycle":
        made |= {"start": draw(st.floats(0, 1)), "rise_share": draw(st.floats(0, 1))}
    if name == "wsd":
        made["decay_share"] = draw(st.floats(0.01, 1))
    return made


@pytest.mark.parametrize("name", NAMES)
@EXAMPLES
@given(data=st.data(), epochs=st.integers(1, 20), size=st.integers(1, 20), warmup=st.floats(0, 9))
def test_each_reaches_its_peak_and_never_more(name, data, epochs, size, warmup):
    schedule = data.draw(schedules(name))
    made = rates(epochs, size, warmup=warmup, **schedule)
    assert all(0 <= rate <= PEAK for rate in made)
    assert max(made[:-1]) == PEAK or name == "step"
    rising = 0 if name == "one_cycle" else int(min(warmup * size, epochs * size / 5))
    assert made[:rising] == pytest.approx([PEAK * n / rising for n in range(1, rising + 1)])
    after = made[rising:]
    if name == "one_cycle":
        top = after.index(PEAK)
        assert after[:top] == sorted(after[:top])
        after = after[top:]
    if schedule.get("cycles", 1) == 1:
        assert after == sorted(after, reverse=True)
    if name in WITH_FINAL and schedule.get("cycle_decay", 1) == 1 == schedule.get("cycles", 1):
        assert made[-1] == pytest.approx(PEAK * schedule["final"])


@EXAMPLES
@given(st.integers(1, 12), st.integers(1, 120), st.floats(0.1, 1))
def test_every_cycle_begins_at_its_peak(cycles, steps, decay):
    made = rates(steps, 1, cycles=cycles, cycle_decay=decay)[:-1]
    cycles = min(cycles, steps)
    starts = [n * steps // cycles for n in range(cycles)]
    assert [made[s] for s in starts] == pytest.approx([PEAK * decay**n for n in range(cycles)])
    lengths = [b - a for a, b in itertools.pairwise([*starts, steps])]
    assert max(lengths) - min(lengths) <= 1


def test_they_are_pytorch_s(heavy):
    import torch
    from torch.optim import lr_scheduler

    def theirs(make: Any, count: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
        scheduler, made = make(optimizer), []
        for _ in range(count):
            made.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return made

    cycles = rates(10, 4, cycles=4, final=0.05)[:-1]
    restarts = theirs(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, eta_min=0.05 * PEAK), 40
    )
    assert cycles == pytest.approx(restarts)
    # Theirs reaches the end in its last step, ours after it.
    one_cycle = rates(10, 5, name="one_cycle", start=0.1, rise_share=0.2, final=0.01)
    settings = {"pct_start": 11 / 51, "div_factor": 10, "final_div_factor": 10}
    theirs_too = theirs(
        lambda o: lr_scheduler.OneCycleLR(
            o, PEAK, total_steps=51, cycle_momentum=False, **settings
        ),
        50,
    )
    assert one_cycle[:-1] == pytest.approx(theirs_too)
    stepped = rates(10, 5, name="step", milestones=(3, 7))[:-1]
    theirs_too = theirs(lambda o: lr_scheduler.MultiStepLR(o, [15, 35]), 50)
    assert stepped == pytest.approx(theirs_too)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"name": "wds"}, r"train\.schedule\.name: expected one of .*Did you mean 'wsd'"),
        (
            {"name": "wsd", "cycles": 2},
            r"train\.schedule\.cycles: expected only with the schedule cosine, got it with wsd",
        ),
        ({"final": 0.1, "name": "step", "every_epochs": 1}, r"final: expected only with .* or wsd"),
        ({"name": "step"}, r"milestones: expected either these or every_epochs"),
        (
            {"name": "step", "every_epochs": 1, "milestones": [2]},
            r"milestones: expected either these or every_epochs",
        ),
        ({"factor": 0.5}, r"factor: expected only with the schedule step, got it with cosine"),
    ],
)
def test_what_a_schedule_does_not_look_at_is_refused(schedule, message):
    table = {"framework": "keras", "model": "m", "schedule": schedule}
    with pytest.raises(ConfigError, match=message):
        parse(TrainConfig, table, "train.")
