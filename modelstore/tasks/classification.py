"""Classification: an image has exactly one class, and the scores are probabilities.

The functions of `modelstore.tasks.contract.Task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

from modelstore.tasks.contract import Metric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAME = "classification"
HEADLINE = "accuracy"
PLOTS: tuple[str, ...] = ("ClassConfusion", "CalibrationBins")
ANSWERS = 5
_LEAST = 1e-7
"""No probability counts as less in a loss, nor as nearer to 1."""


def _is_right(
    scores_NC: npt.NDArray[np.float32], labels_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    right_N: npt.NDArray[np.bool_] = scores_NC.argmax(axis=1) == labels_N
    return right_N


def _cross_entropy(
    scores_NC: npt.NDArray[np.float32], labels_N: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Is Keras' of probabilities: clipped, and made to sum to 1."""
    import numpy as np

    clipped_NC = scores_NC.astype(np.float64).clip(_LEAST, 1 - _LEAST)
    chosen_N = clipped_NC[np.arange(len(labels_N)), labels_N]
    losses_N: npt.NDArray[np.float64] = np.log(clipped_NC.sum(axis=1)) - np.log(chosen_N)
    return losses_N


def _is_in_top_k(
    scores_NC: npt.NDArray[np.float32], labels_N: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.bool_]:
    """Is Keras': fewer than k classes have a higher score."""
    chosen_N1 = scores_NC[range(len(labels_N)), labels_N][:, None]
    found_N: npt.NDArray[np.bool_] = (scores_NC > chosen_N1).sum(axis=1) < k
    return found_N


METRICS: tuple[Metric, ...] = (
    Metric(name=HEADLINE, of_each=_is_right, is_share=True),
    Metric(name="loss", of_each=_cross_entropy),
    Metric(name="top_k_accuracy", of_each=_is_in_top_k, settings={"k": "top_k"}, is_share=True),
)
"""The loss is the mean cross-entropy in nats."""


def measure(
    scores_NC: npt.NDArray[np.float32],
    labels_N: npt.NDArray[np.int64],
    weights_N: npt.NDArray[np.float32],
) -> tuple[float, float]:
    """Returns the sums of weighted cross-entropies (nats) and of right answers."""
    import numpy as np

    chosen_N = scores_NC[np.arange(len(labels_N)), labels_N].astype(np.float64)
    loss = -float((weights_N * np.log(np.maximum(chosen_N, 1e-12))).sum())
    return loss, float((scores_NC.argmax(axis=1) == labels_N).sum())


def answer(
    scores_C: Sequence[float], class_names: Sequence[str], count: int = ANSWERS
) -> list[tuple[str, float]]:
    """Returns the likeliest classes with their probabilities, the likeliest first."""
    # Not by NumPy: it lets go of the interpreter while it sorts, and a server's event loop
    # would wait for the batcher to get it back.
    best = nlargest(count, range(len(scores_C)), scores_C.__getitem__)
    return [(class_names[i], scores_C[i]) for i in best]
