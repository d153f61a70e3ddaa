"""The layers of a network in groups, from the images to the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import nn

from trainers.config import TrainConfig
from trainers.updates import Treatment, needs_layers, treatment


def treatments(net: nn.Module, config: TrainConfig) -> Iterator[tuple[nn.Parameter, Treatment]]:
    """Yields each trainable parameter with how the optimizer treats it."""
    groups = layer_groups(net) if needs_layers(config) else {}
    last = max(groups.values(), default=0)
    kernels = {
        id(module.weight)
        for module in net.modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and getattr(module, "groups", 1) == 1
    }
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            yield (
                parameter,
                treatment(
                    config,
                    dimensions=parameter.ndim,
                    is_kernel=id(parameter) in kernels,
                    layer=groups.get(name, last),
                    last=last,
                ),
            )


def layer_groups(net: nn.Module) -> dict[str, int]:
    """Returns the group of each parameter, from 0; the last is the head.

    timm says of each of its architectures what is a group.  In any other each module with a
    weight of several dimensions begins one, in the order of the modules.
    """
    if hasattr(net, "group_matcher"):
        from timm.models import group_parameters

        matcher = net.group_matcher(coarse=False)  # type: ignore[operator]
        return cast("dict[str, int]", group_parameters(net, matcher, reverse=True))
    groups: dict[str, int] = {}
    number = -1
    for prefix, module in net.named_modules():
        own = dict(module.named_parameters(prefix, recurse=False))
        number += any(parameter.ndim > 1 for parameter in own.values())
        groups.update(dict.fromkeys(own, max(number, 0)))
    return groups
