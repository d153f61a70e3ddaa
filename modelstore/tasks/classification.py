"""Classification: an image has exactly one class, and the scores are probabilities.

The functions of `modelstore.tasks.contract.Task`.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

from modelstore.tasks.contract import Metric, Plot

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NAME = "classification"
HEADLINE = "accuracy"
METRICS: tuple[Metric, ...] = (
    Metric(name=HEADLINE, tfma="SparseCategoricalAccuracy", is_share=True),
    Metric(name="loss", tfma="SparseCategoricalCrossentropy"),
    Metric(
        name="top_k_accuracy",
        tfma="SparseTopKCategoricalAccuracy",
        settings={"k": "top_k"},
        is_share=True,
    ),
)
"""The loss is the mean cross-entropy in nats."""
PLOTS: tuple[Plot, ...] = (
    Plot(tfma="MultiClassConfusionMatrixPlot"),
    # There are as many bins as of a binary model.
    Plot(tfma="CalibrationPlot", arguments={"num_buckets": 10}, micro_average=True),
)
ANSWERS = 5


def measure(
    scores_NC: npt.NDArray[np.float32], labels_N: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Returns the sums of cross-entropies (nats) and of right answers."""
    import numpy as np

    chosen_N = scores_NC[np.arange(len(labels_N)), labels_N].astype(np.float64)
    loss = -float(np.log(np.maximum(chosen_N, 1e-12)).sum())
    return loss, float((scores_NC.argmax(axis=1) == labels_N).sum())


def answer(
    scores_C: Sequence[float], class_names: Sequence[str], count: int = ANSWERS
) -> list[tuple[str, float]]:
    """Returns the likeliest classes with their probabilities, the likeliest first."""
    # Not by NumPy: it lets go of the interpreter while it sorts, and a server's event loop
    # would wait for the batcher to get it back.
    best = nlargest(count, range(len(scores_C)), scores_C.__getitem__)
    return [(class_names[i], scores_C[i]) for i in best]
