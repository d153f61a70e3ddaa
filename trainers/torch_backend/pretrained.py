"""Weights from a local file: a timm checkpoint or safetensors."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from trainers.torch_backend.scorer import Colours

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

_log = logging.getLogger(__name__)


def load(net: nn.Module, path: str, num_classes: int) -> dict[str, Colours]:
    """Loads weights into `net`, all but a classifier with another class count.

    Args:
      path: a checkpoint, or a folder with one, such as a native model's or timm's.

    Returns:
      The `mean` and `std` that the weights were trained with (colours 0..1), where known.

    Raises:
      ConfigError: no or several checkpoints, not readable, weights that don't fit.
    """
    file = _checkpoint(Path(path))
    state = _adapted(net, _read(file), file)
    state = _without_other_head(net, state, num_classes)
    _fill(net, state, file)
    return _normalisation(file.parent, getattr(net, "pretrained_cfg", None))


def _checkpoint(path: Path) -> Path:
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise ConfigError(
                f"pretrained: expected a file ending in {', '.join(_SUFFIXES)}, got {path}."
            )
        return path
    if not path.is_dir():
        raise ConfigError(f"pretrained: no file or folder {path}; weights are never downloaded.")
    for suffix in _SUFFIXES:  # A folder of the same weights in several formats is common.
        files = sorted(path.glob(f"*{suffix}"))
        if len(files) > 1:
            names = ", ".join(f.name for f in files)
            raise ConfigError(f"pretrained: {path} holds several checkpoints; name one of {names}.")
        if files:
            return files[0]
    raise ConfigError(f"pretrained: no {', '.join(_SUFFIXES)} file in the folder {path}.")


def _read(file: Path) -> dict[str, Tensor]:
    import timm

    try:
        state: Any = timm.models.load_state_dict(str(file), weights_only=True)
    except Exception as e:
        raise ConfigError(
            f"pretrained: {file} cannot be read as weights ({type(e).__name__}); expected a state "
            "dict of tensors, alone or under 'state_dict' or 'model'."
        ) from e
    wrong = [k for k, v in state.items() if not isinstance(v, Tensor)]
    if wrong:
        raise ConfigError(
            f"pretrained: expected {file} to hold tensors only, got other values under "
            f"{_some(wrong)}."
        )
    return dict(state)


def _adapted(net: nn.Module, state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """What timm itself does: older names renamed, position embeddings resized."""
    module = importlib.import_module(type(net).__module__)
    adapt = getattr(module, "checkpoint_filter_fn", getattr(module, "_filter_fn", None))
    if adapt is None or not hasattr(net, "pretrained_cfg"):
        return state
    try:
        return dict(adapt(state, net))
    except Exception as e:
        raise ConfigError(
            f"pretrained: {file} does not fit {type(net).__name__} ({type(e).__name__}: {e})."
        ) from e


def _without_other_head(
    net: nn.Module, state: Mapping[str, Tensor], num_classes: int
) -> dict[str, Tensor]:
    """Drops the classifier where it has another number of classes."""
    own = net.state_dict()
    head = [
        key
        for key, value in state.items()
        if key in own
        and own[key].shape[:1] == (num_classes,)
        and value.shape[:1] != own[key].shape[:1]
        and value.shape[1:] == own[key].shape[1:]
    ]
    if head:
        _log.info(
            "The pretrained classifier (%s) is for %d classes, not %d: it starts afresh.",
            *(", ".join(head), state[head[0]].shape[0], num_classes),
        )
    return {k: v for k, v in state.items() if k not in head} | {k: own[k] for k in head}


def _fill(net: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    own = net.state_dict()
    # A counter that PyTorch itself doesn't insist on.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    misshapen = [k for k in own if k in state and state[k].shape != own[k].shape]
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    problems = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in wrong.items() if keys]
    if problems:
        raise ConfigError(
            f"pretrained: the weights in {file} do not fit the model: {'; '.join(problems)}. "
            "Check model, model_args and the image size against how they were trained."
        )
    with torch.no_grad():
        net.load_state_dict(dict(state), strict=False)


def _normalisation(folder: Path, timm_cfg: Any) -> dict[str, Colours]:
    """Reads it from beside the weights, or else from what timm knows of the model."""
    ours = _json(folder / "spec.json")
    theirs = _json(folder / "config.json").get("pretrained_cfg")
    for settings in (ours, theirs, timm_cfg):
        if isinstance(settings, dict) and "mean" in settings and "std" in settings:
            return {key: tuple(settings[key]) for key in ("mean", "std")}
    return {}


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
