"""The learning rate of each step."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, steps: int, warmup: int) -> float:
    """Returns the rate of one step: linear warm-up, then half a cosine to zero.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts"
    (2017), without restarts; warm-up as in Goyal et al. (2017).

    Args:
      step: 0 to steps - 1, of which the first `warmup` end at `peak`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
