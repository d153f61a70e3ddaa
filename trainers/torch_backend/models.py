"""From a model's name to an `nn.Module`: NCHW normalised floats in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from common.errors import ConfigError, nearest
from trainers.config import TrainConfig
from trainers.own_models import described, resolve
from trainers.torch_backend import pretrained, small
from trainers.torch_backend.names import BUILT_IN, model_names, timm_names
from trainers.torch_backend.scorer import Colours


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network and the normalisation of its input."""

    net: nn.Module
    mean: Colours = (0.5, 0.5, 0.5)
    std: Colours = (0.5, 0.5, 0.5)
    """Of colours scaled to 0..1, subtracted and divided by."""


def build_model(config: TrainConfig, *, num_classes: int, image_size: tuple[int, int]) -> Model:
    """Builds the network of a config, with its pretrained weights if any.

    Raises:
      ConfigError: see `trainers.contract.Backend.build`.
    """
    net = build_net(config.model, config.model_args, num_classes=num_classes, image_size=image_size)
    _check_output(config.model, net, num_classes, image_size)
    if config.pretrained is None:
        return Model(net=net)
    return Model(net=net, **pretrained.load(net, config.pretrained, num_classes))


def build_net(
    name: str, args: dict[str, Any], *, num_classes: int, image_size: tuple[int, int]
) -> nn.Module:
    """Builds a network with fresh weights; see `build_model`."""
    for reserved, instead in _RESERVED.items():
        if reserved in args:
            raise ConfigError(f"model_args.{reserved} cannot be given here: {instead}.")
    if ":" in name:
        builder = resolve(name)
    elif name in BUILT_IN:
        builder = getattr(small, name)
    elif name.partition(".")[0] in timm_names():
        builder = _timm_builder(name)
    else:
        raise ConfigError(
            f"model: PyTorch has no model {name!r}.{nearest(name, model_names())} "
            "`visionline models` lists them; your own is named as package.module:function."
        )
    try:
        net = builder(num_classes=num_classes, image_size=image_size, **args)
    except Exception as e:
        raise ConfigError(
            f"model: {name} could not be built with model_args {args} for "
            f"{_size(image_size)} images: {described(e)}"
        ) from e
    if not isinstance(net, nn.Module):
        raise ConfigError(
            f"model: expected {name} to return a torch.nn.Module, got {type(net).__name__}."
        )
    return net


_RESERVED = {
    "num_classes": "the number of classes comes from the data",
    "image_size": "it is the pipeline's own image size",
    "pretrained": "nothing is downloaded; name a local file or folder in `pretrained`",
}


def _timm_builder(name: str) -> Callable[..., nn.Module]:
    def build(*, num_classes: int, image_size: tuple[int, int], **args: Any) -> nn.Module:
        import timm

        # Where the size is part of the weights (position embeddings, windows)
        # timm marks the architecture so and takes it as an argument.
        if timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
            args = {"img_size": image_size, **args}
        net = timm.create_model(name, pretrained=False, num_classes=num_classes, **args)
        return cast(nn.Module, net)

    return build


def _check_output(name: str, net: nn.Module, num_classes: int, image_size: tuple[int, int]) -> None:
    """One forward pass on two black images, before any time is spent on data."""
    net.eval()
    try:
        with torch.no_grad():
            logits = net(torch.zeros(2, 3, *image_size))
    except Exception as e:
        raise ConfigError(
            f"model: {name} cannot take {_size(image_size)} images: {described(e)} "
            "Choose another image size or model."
        ) from e
    received = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if received != (2, num_classes):
        raise ConfigError(
            f"model: expected {name} to turn 2 images into logits of shape (2, {num_classes}), "
            f"got {received}."
        )


def _size(image_size: tuple[int, int]) -> str:
    return f"{image_size[0]}×{image_size[1]}"
