"""The tasks in PyTorch: what each makes of logits (`modelstore.tasks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class TaskOps:
    """The operations of one task."""

    loss_N: Callable[[Tensor, Tensor], Tensor]
    """Logits and targets, both N×C, to the loss of each image, in nats."""
    metric_sum: Callable[[Tensor, Tensor], Tensor]
    """Logits and labels to the headline metric, summed over the batch."""
    scores: Callable[[Tensor], Tensor]
    """Logits to what is served."""


def _cross_entropy(logits_NC: Tensor, targets_NC: Tensor) -> Tensor:
    return F.cross_entropy(logits_NC, targets_NC, reduction="none")


def _hits(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    return (logits_NC.argmax(dim=1) == labels_N).sum()


def _probabilities(logits_NC: Tensor) -> Tensor:
    return torch.softmax(logits_NC, dim=1)


OPS: Mapping[str, TaskOps] = {
    "classification": TaskOps(loss_N=_cross_entropy, metric_sum=_hits, scores=_probabilities)
}
