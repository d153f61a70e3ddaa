"""The learning rate of each step: warm-up, then one of the schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from trainers.config import ScheduleConfig, TrainConfig


def learning_rate(step: int, *, config: TrainConfig, steps_per_epoch: int) -> float:
    """Returns the rate of one step; it depends on nothing else, so that a training can go on.

    A schedule that ends at a share of the peak reaches it one step after the last, so that no
    step is wasted on a rate of 0.  Momentum stays as it is, with one_cycle too.

    Args:
      step: 0 to epochs · steps_per_epoch.
    """
    steps = config.epochs * steps_per_epoch
    warmup = 0
    if config.schedule.name != "one_cycle":
        warmup = int(min(config.warmup_epochs * steps_per_epoch, steps / 5))
    if step < warmup:  # Goyal et al. (2017)
        return config.learning_rate * (step + 1) / warmup
    if config.schedule.name == "step":
        return config.learning_rate * _fallen(config.schedule, step / steps_per_epoch)
    share = _SHARES[config.schedule.name](config.schedule, step - warmup, steps - warmup, steps)
    return config.learning_rate * share


def _constant(schedule: ScheduleConfig, done: int, span: int, steps: int) -> float:
    return 1.0


def _fallen(schedule: ScheduleConfig, epochs: float) -> float:
    if schedule.every_epochs:
        return schedule.factor ** int(epochs / schedule.every_epochs)
    return schedule.factor ** sum(epochs >= milestone for milestone in schedule.milestones)


def _cosine(schedule: ScheduleConfig, done: int, span: int, steps: int) -> float:
    """Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017)."""
    cycles = min(schedule.cycles, span)
    cycle = min(((done + 1) * cycles - 1) // span, cycles - 1)
    start, end = cycle * span // cycles, (cycle + 1) * span // cycles
    peak = schedule.cycle_decay**cycle
    return _between(peak, min(schedule.final, peak), (done - start) / (end - start))


def _one_cycle(schedule: ScheduleConfig, done: int, span: int, steps: int) -> float:
    """Smith and Topin, "Super-Convergence" (2018), annealed as PyTorch's OneCycleLR is."""
    rise = min(round(schedule.rise_share * span), span - 1)
    if done < rise:
        return _between(schedule.start, 1.0, done / rise)
    return _between(1.0, schedule.final, (done - rise) / (span - rise))


def _wsd(schedule: ScheduleConfig, done: int, span: int, steps: int) -> float:
    """Warm-up, stable, decay: Hu et al., "MiniCPM" (2024).

    It decays by 1 - sqrt, which Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond
    Fixed Training Durations" (2024), found best.
    """
    decay = min(max(1, round(schedule.decay_share * steps)), span)
    fallen = math.sqrt(max(0, done - (span - decay)) / decay)
    return schedule.final + (1 - schedule.final) * (1 - fallen)


def _between(start: float, end: float, way: float) -> float:
    """Goes from one value to the other on half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * way))


_SHARES: Mapping[str, Callable[[ScheduleConfig, int, int, int], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "wsd": _wsd,
}
"""From the steps since the warm-up, all steps after it, and all steps, to a share of the peak."""
