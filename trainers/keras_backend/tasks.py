"""The tasks in TensorFlow: what each makes of logits (`modelstore.tasks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from trainers.config import TrainConfig


@dataclass(frozen=True, slots=True)
class TaskOps:
    """The operations of one task."""

    loss: Callable[[TrainConfig], Callable[[Any, Any, Any | None], Any]]
    """Gives what takes logits, targets and, if there is a teacher, its answers, all N×C, to the
    loss of each image, in nats; always in float32."""
    metric_sum: Callable[[Any, Any], Any]
    """Logits and labels to the headline metric, summed over the batch."""
    scores: Callable[[Any], Any]
    """Logits to what is served."""


def _loss(config: TrainConfig) -> Callable[[Any, Any, Any | None], Any]:
    def focal(logits_NC: Any, targets_NC: Any) -> Any:
        """Is that of Lin et al., "Focal Loss for Dense Object Detection" (2017), of softmax."""
        log_NC = tf.nn.log_softmax(logits_NC)
        # Above 0, where a power below 1 has no slope.
        missing_NC = tf.maximum(-tf.math.expm1(log_NC), 1e-7)
        return -tf.reduce_sum(targets_NC * missing_NC**config.focal_gamma * log_NC, axis=1)

    loss_N = {"cross_entropy": _cross_entropy, "focal": focal, "bce": _bce}[config.loss]
    alpha, temperature = config.distillation.alpha, config.distillation.temperature

    def combined(logits_NC: Any, targets_NC: Any, teacher_NC: Any | None) -> Any:
        logits_NC = tf.cast(logits_NC, tf.float32)
        own_N = loss_N(logits_NC, targets_NC)
        if teacher_NC is None:
            return own_N
        # Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
        log_NC = tf.nn.log_softmax(logits_NC / temperature)
        apart_NC = tf.math.xlogy(teacher_NC, teacher_NC) - teacher_NC * log_NC
        return (1 - alpha) * own_N + alpha * temperature**2 * tf.reduce_sum(apart_NC, axis=1)

    return combined


def _cross_entropy(logits_NC: Any, targets_NC: Any) -> Any:
    return tf.nn.softmax_cross_entropy_with_logits(targets_NC, logits_NC)


def _bce(logits_NC: Any, targets_NC: Any) -> Any:
    """Is timm's BinaryCrossEntropy with sum_classes."""
    return tf.reduce_sum(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=targets_NC, logits=logits_NC), axis=1
    )


def _hits(logits_NC: Any, labels_N: Any) -> Any:
    return tf.math.count_nonzero(tf.equal(tf.argmax(logits_NC, axis=1), labels_N))


OPS: Mapping[str, TaskOps] = {
    "classification": TaskOps(loss=_loss, metric_sum=_hits, scores=tf.nn.softmax)
}
