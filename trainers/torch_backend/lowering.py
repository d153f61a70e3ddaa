"""Convolutions that XLA runs fast on a CPU.

XLA's own CPU convolution is as fast as PyTorch's on dense kernels, but takes
several times as long where there is little to do per input value: 1×1 and
depthwise convolutions.  So a 1×1 convolution becomes a matrix product, and a
depthwise one a sum of shifted products, both in NHWC.
benchmarks/torch_savedmodel.py measures the difference.

Shape suffixes: N batch, H height, W width, I input and O output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import torch
import torchax.device_module
from torchax.export import JaxInterpreter
from torchax.ops.jaten import _aten_convolution as xla_convolution

Array = Any

# torchax announces to PyTorch a device that PyTorch's optimizers then ask for
# its streams, and fail: without this, no training after a conversion.
torchax.device_module.is_available = lambda: False


class FastInterpreter(JaxInterpreter):  # type: ignore[misc]
    """Runs a PyTorch graph in JAX, with the convolutions of this module."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is torch.ops.aten.convolution.default:
            return convolution(*args, **kwargs)
        return super().call_function(target, args, kwargs)


def convolution(
    x_NIHW: Array,
    weight: Array,
    bias_O: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Array:
    """`torch.ops.aten.convolution` in JAX, NCHW in and out."""
    groups = rest[-1]
    depthwise = groups == x_NIHW.shape[1] == weight.shape[0]
    pointwise = groups == 1 and weight.shape[2:] == (1, 1)
    if transposed or x_NIHW.ndim != 4 or not (depthwise or pointwise):
        return xla_convolution(x_NIHW, weight, bias_O, stride, padding, dilation, transposed, *rest)
    taps = _taps(jnp.transpose(x_NIHW, (0, 2, 3, 1)), weight.shape[2:], stride, padding, dilation)
    if depthwise:
        weight_KO = weight.reshape(len(weight), -1).T
        y_NHWO = sum(
            tap_NHWO * weight_O for tap_NHWO, weight_O in zip(taps, weight_KO, strict=True)
        )
    else:
        y_NHWO = taps[0] @ weight[:, :, 0, 0].T
    if bias_O is not None:
        y_NHWO = y_NHWO + bias_O
    return jnp.transpose(y_NHWO, (0, 3, 1, 2))


def _taps(
    x_NHWI: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[Array]:
    """For each of the K positions in the kernel, row by row, the inputs it meets (NHWI)."""
    rows, columns = padding
    x_NHWI = jnp.pad(x_NHWI, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    spans = [
        [slice(k * d, size - (n - 1 - k) * d, s) for k in range(n)]
        for n, s, d, size in zip(kernel, stride, dilation, x_NHWI.shape[1:3], strict=True)
    ]
    return [x_NHWI[:, row, column] for row in spans[0] for column in spans[1]]
