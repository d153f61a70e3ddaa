"""The tasks in TensorFlow: what each makes of logits (`modelstore.tasks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, slots=True)
class TaskOps:
    """The operations of one task."""

    loss_N: Callable[[Any, Any, float], Any]
    """Logits, labels and label smoothing to the loss of each image, in nats."""
    metric_sum: Callable[[Any, Any], Any]
    """Logits and labels to the headline metric, summed over the batch."""
    scores: Callable[[Any], Any]
    """Logits to what is served."""


def _cross_entropy(logits_NC: Any, labels_N: Any, label_smoothing: float) -> Any:
    """Gives every class label_smoothing / C of the target (Szegedy et al. 2016), as PyTorch."""
    log_NC = tf.nn.log_softmax(logits_NC)
    of_label_N = tf.gather(log_NC, labels_N, axis=1, batch_dims=1)
    of_all_N = tf.reduce_mean(log_NC, axis=1)
    return -(1 - label_smoothing) * of_label_N - label_smoothing * of_all_N


def _hits(logits_NC: Any, labels_N: Any) -> Any:
    return tf.math.count_nonzero(tf.equal(tf.argmax(logits_NC, axis=1), labels_N))


OPS: Mapping[str, TaskOps] = {
    "classification": TaskOps(loss_N=_cross_entropy, metric_sum=_hits, scores=tf.nn.softmax)
}
