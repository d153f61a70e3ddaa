"""The optimizers of a config: torch.optim's and timm's, and Muon in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.torch_backend.layer_groups import treatments
from trainers.updates import (
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_EPSILON,
    NEWTON_SCHULZ_STEPS,
    Treatment,
    betas,
    muon_scale,
)


def make(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Makes the optimizer of a config, with a group of parameters for each treatment."""
    groups = [
        {
            "params": parameters,
            "weight_decay": how.decay,
            "rate": how.rate,
            "always_adapt": how.adapts,  # read by LAMB
            "is_hidden": how.is_hidden,  # read by Muon
        }
        for how, parameters in _by_treatment(net, config).items()
    ]
    rate, epsilon = config.learning_rate, config.epsilon
    # Fused took half of the time of a loop or less for Adam and AdamW on CPUs, none for SGD.
    match config.optimizer:
        case "sgd":
            return torch.optim.SGD(
                groups, lr=rate, momentum=config.momentum, nesterov=config.nesterov
            )
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas(config), eps=epsilon, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas(config), eps=epsilon, fused=True)
        case "muon":
            return Muon(groups, momentum=config.momentum, lr=rate, betas=betas(config), eps=epsilon)
    from timm.optim import Lamb, Lion  # seconds

    if config.optimizer == "lion":
        return Lion(groups, lr=rate, betas=betas(config))  # type: ignore[no-any-return]
    # Clipping is `clip_norm`'s alone.
    return Lamb(  # type: ignore[no-any-return]
        groups, lr=rate, betas=betas(config), eps=epsilon, max_grad_norm=None
    )


def set_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of the next step, each group's by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]


class Muon(torch.optim.AdamW):
    """Muon for the hidden kernels, AdamW for the rest.

    torch.optim's and timm's compute in bfloat16, which CPUs emulate and no other framework
    rounds alike.
    """

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float, **arguments: Any) -> None:
        super().__init__(groups, fused=True, **arguments)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            if group["is_hidden"]:
                for parameter in group["params"]:
                    self._step_hidden(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None  # AdamW passes over it.
        return super().step(closure)

    def _step_hidden(self, parameter: Tensor, rate: float, decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["momentum_buffer"] = torch.zeros_like(parameter)
        state["step"] += 1
        gradient, buffer = parameter.grad, state["momentum_buffer"]
        assert gradient is not None
        buffer.mul_(self._momentum).add_(gradient)
        matrix = gradient.add(buffer, alpha=self._momentum).flatten(1)
        parameter.mul_(1 - rate * decay)
        parameter.add_(
            _orthogonal(matrix).view(parameter.shape), alpha=-rate * muon_scale(*matrix.shape)
        )


def _orthogonal(matrix: Tensor) -> Tensor:
    from timm.optim.muon import zeropower_via_newtonschulz

    result: Tensor = zeropower_via_newtonschulz(
        matrix,
        NEWTON_SCHULZ_STEPS,
        [NEWTON_SCHULZ],
        eps=NEWTON_SCHULZ_EPSILON,
        dtype=torch.float32,
    )
    return result.contiguous()


def _by_treatment(net: nn.Module, config: TrainConfig) -> dict[Treatment, list[nn.Parameter]]:
    groups: dict[Treatment, list[nn.Parameter]] = {}
    for parameter, how in treatments(net, config):
        groups.setdefault(how, []).append(parameter)
    return groups
