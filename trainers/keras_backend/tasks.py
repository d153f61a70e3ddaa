"""The tasks in TensorFlow: what each makes of logits (`modelstore.tasks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, slots=True)
class TaskOps:
    """The operations of one task."""

    loss_N: Callable[[Any, Any], Any]
    """Logits and targets, both N×C, to the loss of each image, in nats."""
    metric_sum: Callable[[Any, Any], Any]
    """Logits and labels to the headline metric, summed over the batch."""
    scores: Callable[[Any], Any]
    """Logits to what is served."""


def _cross_entropy(logits_NC: Any, targets_NC: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits(targets_NC, logits_NC)


def _hits(logits_NC: Any, labels_N: Any) -> Any:
    return tf.math.count_nonzero(tf.equal(tf.argmax(logits_NC, axis=1), labels_N))


OPS: Mapping[str, TaskOps] = {
    "classification": TaskOps(loss_N=_cross_entropy, metric_sum=_hits, scores=tf.nn.softmax)
}
