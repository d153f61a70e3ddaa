"""What a PyTorch training depends on, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainers.contract import Arrays
from trainers.torch_backend.updates import Updates

_RNG, _GROUP, _AVERAGE = "generator", "group", "average"


def weights(net: nn.Module) -> Arrays:
    """Returns parameters and all buffers, also those that no state dict holds."""
    return {f"net/{name}": _array(tensor) for name, tensor in _tensors(net).items()}


def set_weights(net: nn.Module, arrays: Arrays) -> None:
    with torch.no_grad():
        for name, tensor in _tensors(net).items():
            tensor.copy_(_tensor(arrays[f"net/{name}"], tensor.dtype))


def updates(done: Updates) -> Arrays:
    """Returns what the optimizer and the moving average have, where no gradients are added up."""
    arrays = _slots(done.optimizer)
    for number, group in enumerate(done.optimizer.param_groups):
        if "step" in group:  # LAMB's
            arrays[f"{_GROUP}/{number}"] = np.array(group["step"])
    if done.average is not None:
        arrays[f"{_AVERAGE}/steps"] = np.array(done.average.steps)
        for number, tensor in enumerate(done.average.averages):
            arrays[f"{_AVERAGE}/{number}"] = _array(tensor)
    return arrays


def set_updates(done: Updates, arrays: Arrays) -> None:
    _set_slots(done.optimizer, arrays)
    for number, group in enumerate(done.optimizer.param_groups):
        if f"{_GROUP}/{number}" in arrays:
            group["step"] = int(arrays[f"{_GROUP}/{number}"])
    if done.average is not None:
        done.average.steps = int(arrays[f"{_AVERAGE}/steps"])
        for number, tensor in enumerate(done.average.averages):
            tensor.copy_(_tensor(arrays[f"{_AVERAGE}/{number}"], tensor.dtype))


def _slots(optimizer: torch.optim.Optimizer) -> Arrays:
    """Returns the tensors that an optimizer has for each parameter."""
    return {
        f"optimizer/{index}/{name}": _array(value)
        for index, slots_ in optimizer.state_dict()["state"].items()
        for name, value in slots_.items()
        if value is not None
    }


def _set_slots(optimizer: torch.optim.Optimizer, arrays: Arrays) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        if kind != "optimizer":
            continue
        index, _, name = rest.partition("/")
        of = parameters[int(index)]
        value = _tensor(array, of.dtype)
        if value.shape == of.shape:  # in the order in memory that it had
            value = torch.empty_like(of, dtype=value.dtype, device="cpu").copy_(value)
        found.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": found, "param_groups": groups})


def generators() -> Arrays:
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return {f"{_RNG}/{index}": np.array(state) for index, state in enumerate(states)}


def set_generators(arrays: Arrays) -> None:
    torch.set_rng_state(torch.from_numpy(arrays[f"{_RNG}/0"]))
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        states = [torch.from_numpy(arrays[f"{_RNG}/{index + 1}"]) for index in range(count)]
        torch.cuda.set_rng_state_all(states)


def _tensors(net: nn.Module) -> Mapping[str, Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # which NumPy does not know
        tensor = tensor.view(torch.int16)
    return np.array(tensor.numpy())


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(array)
    is_other = dtype == torch.bfloat16 and tensor.dtype == torch.int16
    return tensor.view(dtype) if is_other else tensor
