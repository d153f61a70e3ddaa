"""The tasks in PyTorch: what each makes of logits (`modelstore.tasks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import TrainConfig


@dataclass(frozen=True, slots=True)
class TaskOps:
    """The operations of one task."""

    loss: Callable[[TrainConfig], Callable[[Tensor, Tensor, Tensor | None], Tensor]]
    """Gives what takes logits, targets and, if there is a teacher, its answers, all N×C, to the
    loss of each image, in nats; always in float32."""
    metric_sum: Callable[[Tensor, Tensor], Tensor]
    """Logits and labels to the headline metric, summed over the batch."""
    scores: Callable[[Tensor], Tensor]
    """Logits to what is served."""


def _loss(config: TrainConfig) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    def focal(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
        """Is that of Lin et al., "Focal Loss for Dense Object Detection" (2017), of softmax."""
        log_NC = F.log_softmax(logits_NC, dim=1)
        # Above 0, where a power below 1 has no slope.
        missing_NC = (-torch.expm1(log_NC)).clamp_min(1e-7)
        return -(targets_NC * missing_NC**config.focal_gamma * log_NC).sum(dim=1)

    loss_N = {"cross_entropy": _cross_entropy, "focal": focal, "bce": _bce}[config.loss]
    alpha, temperature = config.distillation.alpha, config.distillation.temperature

    def combined(logits_NC: Tensor, targets_NC: Tensor, teacher_NC: Tensor | None) -> Tensor:
        logits_NC = logits_NC.float()
        own_N = loss_N(logits_NC, targets_NC)
        if teacher_NC is None:
            return own_N
        # Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
        log_NC = F.log_softmax(logits_NC / temperature, dim=1)
        apart_NC = torch.xlogy(teacher_NC, teacher_NC) - teacher_NC * log_NC
        return (1 - alpha) * own_N + alpha * temperature**2 * apart_NC.sum(dim=1)

    return combined


def _cross_entropy(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    return F.cross_entropy(logits_NC, targets_NC, reduction="none")


def _bce(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    """Is timm's BinaryCrossEntropy with sum_classes."""
    each_NC = F.binary_cross_entropy_with_logits(logits_NC, targets_NC, reduction="none")
    return each_NC.sum(dim=1)


def _hits(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    return (logits_NC.argmax(dim=1) == labels_N).sum()


def _probabilities(logits_NC: Tensor) -> Tensor:
    return torch.softmax(logits_NC, dim=1)


OPS: Mapping[str, TaskOps] = {
    "classification": TaskOps(loss=_loss, metric_sum=_hits, scores=_probabilities)
}
