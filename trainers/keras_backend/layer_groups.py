"""The layers of a model in groups, from the images to the head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import keras

from trainers.config import TrainConfig
from trainers.keras_backend.models import network_of
from trainers.updates import Treatment, needs_layers, treatment

_BLOCK = re.compile(r".*?block_?\d+[a-z]?(?!\d)|expanded_conv(_\d+)?(?=_)")
"""The start of the names of a block's layers: conv4_block3_1_conv, block_5_expand, block3b_bn,
convnext_tiny_stage_1_block_2_layernorm, expanded_conv_4_project."""
_KERNELS = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def treatments(model: Any, config: TrainConfig) -> list[Treatment]:
    """Returns how the optimizer treats each of the model's trainable variables, in their order."""
    grouped = layer_groups(model) if needs_layers(config) else []
    groups = {id(variable): group for variable, group in grouped}
    last = max(groups.values(), default=0)
    kernels = {
        id(layer.kernel)
        for layer in model._flatten_layers()
        if isinstance(layer, _KERNELS) and getattr(layer, "groups", 1) == 1
    }
    return [
        treatment(
            config,
            dimensions=len(variable.shape),
            is_kernel=id(variable) in kernels,
            layer=groups.get(id(variable), last),
            last=last,
        )
        for variable in model.trainable_variables
    ]


def layer_groups(model: Any) -> list[tuple[Any, int]]:
    """Returns each trainable variable with its group, from 0; the last is the head.

    A block of a Keras application is a group, as the names of its layers tell.  Any other layer
    with a weight of several dimensions begins one, in the order of the graph.
    """
    groups: list[tuple[Any, int]] = []
    numbers: dict[str, int] = {}
    number = -1
    for layer in _layers(network_of(model)):
        own = layer.trainable_variables
        block = _BLOCK.match(layer.name)
        if block and block[0] in numbers:
            place = numbers[block[0]]
        else:
            number += bool(block) or any(len(variable.shape) > 1 for variable in own)
            place = max(number, 0)
            if block:
                numbers[block[0]] = place
        groups += [(variable, place) for variable in own]
    return groups


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif layer.trainable_variables:
            yield layer
