"""Convolutions that XLA runs fast on a CPU.

XLA's own CPU convolution takes 4 to 10 times PyTorch's time; its matrix
product and its fused elementwise loops do not.  So a convolution becomes, in
NHWC, a product of patches and a matrix, and a depthwise one a sum of shifted
products.  benchmarks/torch_savedmodel.py measures the difference.

Shape suffixes: N batch, H height, W width, I input and O output channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from torchax.ops.jaten import _aten_convolution as xla_convolution

Array = Any


def convolution(
    x_NIHW: Array,
    weight: Array,
    bias_O: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    """`torch.ops.aten.convolution` in JAX, NCHW in and out.

    Transposed, grouped (other than depthwise) and other than two-dimensional
    convolutions are left to XLA's own.
    """
    channels = x_NIHW.shape[1]
    depthwise = groups == channels == weight.shape[0]
    if x_NIHW.ndim != 4 or transposed or (groups != 1 and not depthwise):
        return xla_convolution(
            x_NIHW,
            weight,
            bias_O,
            stride,
            padding,
            dilation,
            transposed,
            output_padding,
            groups,
        )
    x_NHWI = jnp.transpose(x_NIHW, (0, 2, 3, 1))
    taps = _taps(x_NHWI, weight.shape[2:], stride, padding, dilation)
    if depthwise:
        weight_KO = weight.reshape(channels, -1).T
        y_NHWO = sum(tap * weight_KO[k] for k, tap in enumerate(taps))
    else:
        # O×I×h×w to (h·w·I)×O: the order in which the taps are joined.
        weight_KO = jnp.transpose(weight, (2, 3, 1, 0)).reshape(-1, weight.shape[0])
        y_NHWO = jnp.concatenate(taps, axis=-1) @ weight_KO
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
    """For each position in the kernel, row by row, the inputs it meets (NHWI)."""
    rows, columns = padding
    x_NHWI = jnp.pad(x_NHWI, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    spans = [
        [slice(k * d, size - (n - 1 - k) * d, s) for k in range(n)]
        for n, s, d, size in zip(kernel, stride, dilation, x_NHWI.shape[1:3], strict=True)
    ]
    return [x_NHWI[:, row, column] for row in spans[0] for column in spans[1]]
