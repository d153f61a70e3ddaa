"""The learning-rate schedule: linear warm-up, then half a cosine to zero.

Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts"
(2017), without restarts; warm-up as in Goyal et al. (2017).
"""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, steps: int, warmup: int) -> float:
    """The rate of one step.

    Args:
      step: 0 to steps - 1.
      peak: the rate at the end of the warm-up.
      steps: steps of the whole training.
      warmup: steps of linear warm-up.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
