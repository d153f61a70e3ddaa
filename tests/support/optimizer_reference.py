"""The optimizers of a config in NumPy, float64, from their papers; kernels as PyTorch has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainers.config import TrainConfig

Arrays = list[Any]


def steps(
    config: TrainConfig, weights: Arrays, gradients: list[Arrays], rate: float, hidden: set[int]
) -> Arrays:
    """Returns the weights after a step for each of the gradients.

    Args:
      weights: kernels O×I×H×W, matrices O×I; those of one dimension never decay.
      hidden: the places of those that Muon makes orthogonal.
    """
    name, decay = config.optimizer, config.weight_decay
    w = [np.array(weight, np.float64) for weight in weights]
    m, v = ([np.zeros_like(x) for x in w] for _ in range(2))
    b1, b2 = config.beta_1, config.beta_2 or (0.99 if name == "lion" else 0.999)
    for t, step in enumerate(gradients, 1):
        for i, given in enumerate(step):
            g, matrix = given.astype(np.float64), w[i].ndim > 1
            wd = decay if matrix else 0.0
            if name == "sgd":
                g = g + wd * w[i]
                m[i] = config.momentum * m[i] + g
                w[i] -= rate * (g + config.momentum * m[i] if config.nesterov else m[i])
            elif name == "lion":
                sign = np.sign(b1 * m[i] + (1 - b1) * g)
                w[i] -= rate * (sign + wd * w[i])
                m[i] = b2 * m[i] + (1 - b2) * g
            elif name == "muon" and i in hidden:
                m[i] = config.momentum * m[i] + g
                update = (g + config.momentum * m[i]).reshape(len(g), -1)
                size = 0.2 * np.sqrt(max(update.shape))
                w[i] -= rate * (size * newton_schulz(update).reshape(g.shape) + wd * w[i])
            else:
                if name == "adam":
                    g = g + wd * w[i]
                m[i] = b1 * m[i] + (1 - b1) * g
                v[i] = b2 * v[i] + (1 - b2) * g**2
                update = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + config.epsilon)
                if name != "adam":
                    update = update + wd * w[i]
                if name == "lamb" and matrix:
                    update = update * np.linalg.norm(w[i]) / np.linalg.norm(update)
                w[i] -= rate * update
    return w


def newton_schulz(matrix: Any) -> Any:
    """Jordan et al. 2024: five quintic steps towards the nearest orthogonal matrix."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x
