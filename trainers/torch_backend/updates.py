"""What becomes of the gradients of a batch: a step of the optimizer and of the average."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.torch_backend import optimizer
from trainers.updates import average_decay, require_trainable


class Updates:
    """Adds gradients up, and makes a step of them: clipping, optimizer, moving average."""

    def __init__(self, net: nn.Module, config: TrainConfig) -> None:
        self._parameters = [p for p in net.parameters() if p.requires_grad]
        require_trainable(self._parameters, config)
        self.optimizer = optimizer.make(net, config)
        self.average = Average(net, config.ema_decay) if config.ema_decay else None
        self._clip_norm = config.clip_norm
        self._accumulates = config.accumulate_steps > 1
        self._weight: Tensor | float = 0.0  # of the images since the last step

    def backward(self, loss_N: Tensor, weights_N: Tensor) -> Tensor:
        """Adds the gradients of a batch; returns its weighted mean loss."""
        loss_sum, weight = (weights_N * loss_N).sum(), weights_N.sum()
        # A batch whose weights are all zero teaches nothing, rather than NaN.
        loss: Tensor = loss_sum / weight.clamp_min(_LEAST_WEIGHT)
        if self._accumulates:
            self._weight = self._weight + weight
            loss_sum.backward()  # type: ignore[no-untyped-call]
        else:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def step(self, learning_rate: float) -> None:
        """Makes one step of all gradients since the last."""
        if isinstance(self._weight, Tensor):
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            torch._foreach_div_(gradients, self._weight.clamp_min(_LEAST_WEIGHT))
            self._weight = 0.0
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        optimizer.set_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.step()


_LEAST_WEIGHT = 1e-12


class Average:
    """The exponential moving average of a network's weights and running statistics."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        tensors = (t.detach() for t in (*net.parameters(), *net.buffers()))
        self._weights = [t for t in tensors if t.is_floating_point()]
        self._decay = decay
        self.averages = [t.clone() for t in self._weights]
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        kept = average_decay(self._decay, self.steps)
        torch._foreach_lerp_(self.averages, self._weights, 1 - kept)

    def exchange(self) -> None:
        """Puts the average where the weights are, and the weights where it was."""
        weights = [t.clone() for t in self._weights]
        torch._foreach_copy_(self._weights, self.averages)
        torch._foreach_copy_(self.averages, weights)
