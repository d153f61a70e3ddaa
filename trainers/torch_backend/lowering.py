"""Depthwise convolutions that XLA runs fast on a CPU.

XLA's CPU convolution matches PyTorch's on dense kernels but takes many times
as long on depthwise ones, which are a sum of shifted products: a loop that
XLA fuses well (benchmarks/torch_savedmodel.py measures it).  Dense ones as
patches × matrix, and 1×1 ones as a matrix product, gained at most a few percent.

Shape suffixes: N batch, H height, W width, C channels.
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
    """Runs a PyTorch graph in JAX, with the convolution of this module."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is torch.ops.aten.convolution.default:
            return convolution(*args, **kwargs)
        return super().call_function(target, args, kwargs)


def convolution(
    x_NCHW: Array,
    weight: Array,
    bias_C: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    *rest: Any,
) -> Array:
    """`torch.ops.aten.convolution` in JAX; the depthwise in two dimensions are ours."""
    groups = rest[-1]
    if transposed or x_NCHW.ndim != 4 or not groups == x_NCHW.shape[1] == len(weight):
        return xla_convolution(x_NCHW, weight, bias_C, stride, padding, dilation, transposed, *rest)
    x_NHWC = jnp.pad(
        jnp.transpose(x_NCHW, (0, 2, 3, 1)),
        ((0, 0), (padding[0], padding[0]), (padding[1], padding[1]), (0, 0)),
    )
    # For each row (column) of the kernel, the rows (columns) of the image it meets.
    rows, columns = (
        [slice(k * d, size - (n - 1 - k) * d, s) for k in range(n)]
        for n, s, d, size in zip(weight.shape[2:], stride, dilation, x_NHWC.shape[1:3], strict=True)
    )
    y_NHWC = sum(
        x_NHWC[:, row, column] * weight[:, 0, i, j]
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    )
    if bias_C is not None:
        y_NHWC = y_NHWC + bias_C
    return jnp.transpose(y_NHWC, (0, 3, 1, 2))
