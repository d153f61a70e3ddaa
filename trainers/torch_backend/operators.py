"""PyTorch's operators in TensorFlow's: the table that `tensorflow_graph` interprets a graph with.

TensorFlow's convolutions and poolings on a CPU want the channels last, PyTorch's graphs have
them first.  So a batch of feature maps is held as `Planes`, channels last, and operators that
can do so work on it as it is; one that is not `layout_free` gets it transposed.

Shape suffixes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import torch

aten = torch.ops.aten

Value = Any
"""A tensor of TensorFlow, `Planes`, a number or a sequence of these."""


@dataclass(frozen=True)
class Planes:
    """A tensor that is N×C×H×W for the graph and held as N×H×W×C."""

    held_NHWC: Any


_AXIS = (0, 3, 1, 2)
"""Where each dimension of N×C×H×W is held in `Planes`."""

OPERATORS: dict[Any, Callable[..., Value]] = {}
"""TensorFlow's counterparts, which take what the operators of PyTorch take."""

WHOLE = tuple(
    getattr(aten, name).default
    for name in (
        *("adaptive_avg_pool2d", "hardsigmoid", "hardswish", "leaky_relu", "linear", "matmul"),
        *("mish", "roll", "scaled_dot_product_attention", "silu", "softplus"),
    )
)
"""Operators that are not to be decomposed, because there is a faster counterpart."""


def plain(value: Value) -> Value:
    """Returns it as the graph has it, without `Planes`."""
    if isinstance(value, Planes):
        return tf.transpose(value.held_NHWC, (0, 3, 1, 2))
    return type(value)(map(plain, value)) if isinstance(value, list | tuple) else value


def planes(value: Value) -> Any:
    """Returns a batch of feature maps with its channels last."""
    return value.held_NHWC if isinstance(value, Planes) else tf.transpose(value, (0, 2, 3, 1))


def _operator(*targets: Any, layout_free: bool = False) -> Callable[[Any], Any]:
    def add(function: Callable[..., Value]) -> Callable[..., Value]:
        def on_plain(*args: Value, **options: Any) -> Value:
            return function(*map(plain, args), **options)

        OPERATORS.update(dict.fromkeys(targets, function if layout_free else on_plain))
        return function

    return add


# Element by element.


def _elementwise(function: Callable[..., Any]) -> Callable[..., Value]:
    def run(*args: Value, **options: Any) -> Value:
        ranks = [a.shape.rank for a in args if tf.is_tensor(a)]
        if max(ranks, default=0) > 4 or not any(isinstance(a, Planes) for a in args):
            return function(*map(plain, args), **options)
        return Planes(function(*map(_channels_last, args), **options))

    return run


def _channels_last(value: Value) -> Value:
    """Gives what is broadcast to `Planes` their order of dimensions."""
    if isinstance(value, Planes):
        return value.held_NHWC
    if not tf.is_tensor(value) or not value.shape.rank:
        return value
    return planes(tf.reshape(value, _shape([1] * (4 - value.shape.rank) + _sizes(value))))


def _sizes(tensor: Any) -> list[Any]:
    """Returns the shape, with numbers where they are known."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if n is None else n for i, n in enumerate(tensor.shape)]


_WIDENING = (tf.bool, tf.uint8, tf.int32, tf.int64, tf.float32)


def _promoted(*values: Any) -> list[Any]:
    """Gives tensors and numbers the type that PyTorch would."""
    types = [_WIDENING.index(v.dtype) for v in values if tf.is_tensor(v)]
    if any(isinstance(v, float) for v in values):
        types.append(_WIDENING.index(tf.float32))
    return [tf.cast(v, _WIDENING[max(types)]) for v in values]


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(a: Any, b: Any, *, alpha: Any = 1) -> Any:
        a, b = _promoted(a, b)
        return function(a, b if alpha == 1 else b * tf.cast(alpha, b.dtype))

    return run


def _divide(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return tf.divide(*_promoted(a, b, 1.0)[:2])
    if rounding_mode == "floor":
        return tf.math.floordiv(*_promoted(a, b))
    raise NotImplementedError(f"division with rounding_mode={rounding_mode!r}")


def _clamp(x: Any, low: float | None = None, high: float | None = None) -> Any:
    if (low, high) == (0, 6):
        return tf.nn.relu6(x)
    x = x if low is None else tf.maximum(x, tf.cast(low, x.dtype))
    return x if high is None else tf.minimum(x, tf.cast(high, x.dtype))


def _softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    return tf.where(x * beta > threshold, x, tf.math.softplus(x * beta) / beta)


def _cast(x: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    return x if dtype is None else tf.cast(x, _type(dtype))


def _type(dtype: torch.dtype) -> Any:
    return tf.as_dtype(str(dtype).removeprefix("torch."))


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    return tf.nn.gelu(x, approximate == "tanh")


for _names, _function in {
    "relu": tf.nn.relu,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "exp": tf.exp,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "expm1": tf.math.expm1,
    "neg": tf.negative,
    "abs": tf.abs,
    "sign": tf.sign,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "reciprocal": tf.math.reciprocal,
    "erf": tf.math.erf,
    "sin": tf.sin,
    "cos": tf.cos,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "logical_not": tf.logical_not,
    "bitwise_not": lambda x: tf.logical_not(x) if x.dtype == tf.bool else tf.bitwise.invert(x),
    "silu": lambda x: x * tf.sigmoid(x),
    "mish": lambda x: x * tf.tanh(_softplus(x)),
    "hardsigmoid": lambda x: tf.nn.relu6(x + 3) / 6,
    "hardswish": lambda x: x * (tf.nn.relu6(x + 3) / 6),
    "gelu": _gelu,
    "softplus": _softplus,
    "leaky_relu": lambda x, slope=0.01: tf.nn.leaky_relu(x, slope),
    "elu": lambda x, alpha=1, scale=1, input_scale=1: (
        scale * tf.where(x > 0, x, alpha * tf.math.expm1(input_scale * x))
    ),
    "clamp hardtanh": _clamp,
    "clone alias detach lift_fresh_copy": lambda x, **_: tf.identity(x),
    "_to_copy": _cast,
    "maximum": _binary(tf.maximum),
    "minimum": _binary(tf.minimum),
    "logical_and": tf.logical_and,
    "logical_or": tf.logical_or,
    "add.Tensor add.Scalar": _binary(tf.add),
    "sub.Tensor sub.Scalar": _binary(tf.subtract),
    "mul.Tensor mul.Scalar": _binary(tf.multiply),
    "div.Tensor div.Scalar div.Tensor_mode div.Scalar_mode": _divide,
    "remainder.Tensor remainder.Scalar": _binary(tf.math.floormod),
    "pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor": lambda x, y: (
        tf.square(x) if isinstance(y, int) and y == 2 else tf.pow(*_promoted(x, y))
    ),
    "eq.Tensor eq.Scalar": _binary(tf.equal),
    "ne.Tensor ne.Scalar": _binary(tf.not_equal),
    "lt.Tensor lt.Scalar": _binary(tf.less),
    "le.Tensor le.Scalar": _binary(tf.less_equal),
    "gt.Tensor gt.Scalar": _binary(tf.greater),
    "ge.Tensor ge.Scalar": _binary(tf.greater_equal),
    "where.self": lambda condition, a, b: tf.where(condition, *_promoted(a, b)),
}.items():
    for _name in _names.split():
        _target = operator.attrgetter(_name if "." in _name else f"{_name}.default")(aten)
        OPERATORS[_target] = _elementwise(_function)

OPERATORS.update({f: f for f in (operator.add, operator.sub, operator.mul, operator.floordiv)})


# Shapes.


@_operator(aten.sym_size.int, layout_free=True)
def _size(x: Value, dim: int) -> Any:
    return tf.shape(planes(x))[_AXIS[dim]] if isinstance(x, Planes) else tf.shape(x)[dim]


@_operator(operator.getitem, layout_free=True)
def _item(values: Sequence[Value], index: int) -> Value:
    return values[index]


def _shape(sizes: Sequence[Any]) -> Any:
    """Returns sizes, of which some may be tensors, as TensorFlow's functions take them."""
    unknown = [i for i, n in enumerate(sizes) if tf.is_tensor(n)]
    if len(unknown) == 1 and all(i in unknown or n >= 0 for i, n in enumerate(sizes)):
        return [-1 if i in unknown else n for i, n in enumerate(sizes)]
    return tf.stack(sizes) if unknown else list(sizes)


@_operator(aten.view.default, aten._unsafe_view.default, aten.reshape.default, layout_free=True)
def _view(x: Value, sizes: Sequence[Any]) -> Any:
    if isinstance(x, Planes) and tuple(x.held_NHWC.shape[1:3]) == (1, 1):
        return tf.reshape(x.held_NHWC, _shape(sizes))
    return tf.reshape(plain(x), _shape(sizes))


@_operator(aten.permute.default, layout_free=True)
def _permute(x: Value, dims: Sequence[int]) -> Value:
    order = [d % len(dims) for d in dims]
    if isinstance(x, Planes) and order == [0, 2, 3, 1]:
        return x.held_NHWC
    if not isinstance(x, Planes) and order == [0, 3, 1, 2]:
        return Planes(x)
    return tf.transpose(plain(x), order)


@_operator(aten.transpose.int)
def _transpose(x: Any, a: int, b: int) -> Any:
    order = list(range(x.shape.rank))
    order[a], order[b] = order[b], order[a]
    return tf.transpose(x, order)


@_operator(aten.unsqueeze.default)
def _unsqueeze(x: Any, dim: int) -> Any:
    return tf.expand_dims(x, dim)


@_operator(aten.squeeze.dims, aten.squeeze.dim, layout_free=True)
def _squeeze(x: Value, dims: Any) -> Any:
    if isinstance(x, Planes) and sorted(_dims(x, dims)) == [2, 3]:
        return _squeeze(x.held_NHWC, [1, 2])
    x = plain(x)
    return tf.squeeze(x, [d for d in _dims(x, dims) if x.shape[d] == 1])


def _dims(x: Value, dims: Any) -> list[int]:
    """Returns dimensions, one or several, counted from the first."""
    rank = 4 if isinstance(x, Planes) else x.shape.rank
    dims = [dims] if isinstance(dims, int) else (dims or list(range(rank)))
    return [d % rank for d in dims]


@_operator(aten.expand.default)
def _expand(x: Any, sizes: Sequence[Any]) -> Any:
    own = [None] * (len(sizes) - x.shape.rank) + _sizes(x)
    return tf.broadcast_to(
        x, [o if isinstance(n, int) and n == -1 else n for n, o in zip(sizes, own, strict=True)]
    )


@_operator(aten.repeat.default)
def _repeat(x: Any, counts: Sequence[Any]) -> Any:
    return tf.tile(tf.reshape(x, [1] * (len(counts) - x.shape.rank) + _sizes(x)), counts)


def _along(x: Value, dim: int) -> tuple[Any, int, Callable[[Any], Value]]:
    """Returns a tensor, where it holds a dimension, and what makes a value of it again."""
    (dim,) = _dims(x, dim)
    if isinstance(x, Planes):
        return x.held_NHWC, _AXIS[dim], Planes
    return x, dim, lambda y: y


@_operator(aten.cat.default, layout_free=True)
def _cat(values: Sequence[Value], dim: int = 0) -> Value:
    if not any(isinstance(v, Planes) for v in values):
        return tf.concat(_promoted(*values), dim)
    (dim,) = _dims(Planes(None), dim)
    return Planes(tf.concat([planes(v) for v in values], _AXIS[dim]))


@_operator(aten.split_with_sizes.default, layout_free=True)
def _split(x: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    x, axis, made = _along(x, dim)
    return [made(y) for y in tf.split(x, sizes, axis)]


@_operator(aten.slice.Tensor, layout_free=True)
def _slice(x: Value, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Value:
    x, axis, made = _along(x, dim)
    if isinstance(end, int) and end >= 2**31 - 1:
        end = None
    return made(x[(slice(None),) * axis + (slice(start, end, step),)])


@_operator(aten.slice_scatter.default)
def _slice_scatter(
    x: Any,
    source: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    first, last = start or 0, 2**31 if end is None else end
    if step != 1 or min(first, last) < 0:
        raise NotImplementedError("slice_scatter with a step or from the end")
    return tf.concat([_slice(x, dim, 0, first), source, _slice(x, dim, min(last, 2**31 - 2))], dim)


@_operator(aten.copy.default)
def _copy(x: Any, source: Any, *_: Any) -> Any:
    return tf.cast(tf.broadcast_to(source, _sizes(x)), x.dtype)


@_operator(aten.select.int)
def _select(x: Any, dim: int, index: int) -> Any:
    (dim,) = _dims(x, dim)
    return x[(slice(None),) * dim + (index,)]


@_operator(aten.index.Tensor)
def _index(x: Any, indices: Sequence[Any]) -> Any:
    where = [i for i, index in enumerate(indices) if index is not None]
    chosen = [indices[i] for i in where]
    first = where[0]
    if where != list(range(first, first + len(where))) or any(i.dtype == tf.bool for i in chosen):
        raise NotImplementedError("indexing by masks or by dimensions that are apart")
    chosen = [tf.where(i < 0, i + x.shape[d], i) for d, i in zip(where, chosen, strict=True)]
    # Several index tensors are one into the dimensions taken together.
    flat = functools.reduce(
        lambda a, b: a * b[0] + b[1],
        [(x.shape[d], i) for d, i in zip(where, chosen, strict=True)],
        tf.zeros((), chosen[0].dtype),
    )
    sizes = _sizes(x)
    x = tf.reshape(x, [*sizes[:first], -1, *sizes[first + len(where) :]])
    return tf.gather(x, flat, axis=first)


@_operator(aten.index_select.default)
def _index_select(x: Any, dim: int, index: Any) -> Any:
    return tf.gather(x, index, axis=dim)


@_operator(aten.gather.default)
def _gather(x: Any, dim: int, index: Any) -> Any:
    return tf.experimental.numpy.take_along_axis(x, index, dim)


@_operator(aten.flip.default)
def _flip(x: Any, dims: Sequence[int]) -> Any:
    return tf.reverse(x, dims)


@_operator(aten.roll.default)
def _roll(x: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> Any:
    if not dims:
        raise NotImplementedError("roll without dims")
    return tf.roll(x, shifts, dims)


@_operator(aten.unfold.default)
def _unfold(x: Any, dim: int, size: int, step: int) -> Any:
    (dim,) = _dims(x, dim)
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    windows = tf.gather(x, starts[:, None] + np.arange(size), axis=dim)
    order = [i for i in range(windows.shape.rank) if i != dim + 1]
    return tf.transpose(windows, [*order, dim + 1])


@_operator(aten.constant_pad_nd.default, layout_free=True)
def _pad(x: Value, pad: Sequence[int], value: float = 0) -> Value:
    if min(pad) < 0:
        raise NotImplementedError("a negative padding")
    pairs = [list(pad[i : i + 2]) for i in range(0, len(pad), 2)]
    if isinstance(x, Planes):
        around = {2: [0, 0], 3: [0, 0], 1: [0, 0], 0: [0, 0]} | dict(
            zip((3, 2, 1, 0), pairs, strict=False)
        )
        paddings = [around[0], around[2], around[3], around[1]]
        return Planes(tf.pad(x.held_NHWC, paddings, constant_values=value))
    paddings = [[0, 0]] * (x.shape.rank - len(pairs)) + pairs[::-1]
    return tf.pad(x, paddings, constant_values=tf.cast(value, x.dtype))


@_operator(aten.arange.start_step)
def _arange(start: Any, end: Any, step: Any = 1, *, dtype: Any = None, **_: Any) -> Any:
    numbers = tf.range(start, end, step)
    return numbers if dtype is None else tf.cast(numbers, _type(dtype))


@_operator(aten.full.default)
def _full(sizes: Sequence[Any], value: Any, *, dtype: Any = torch.float32, **_: Any) -> Any:
    return tf.fill(sizes, tf.cast(value, _type(dtype)))


@_operator(aten.full_like.default)
def _full_like(x: Any, value: Any, *, dtype: Any = None, **_: Any) -> Any:
    return tf.fill(_sizes(x), tf.cast(value, x.dtype if dtype is None else _type(dtype)))


@_operator(aten.scalar_tensor.default)
def _scalar_tensor(value: Any, *, dtype: Any = torch.float32, **_: Any) -> Any:
    return tf.cast(value, _type(dtype))


# Reductions.


def _reduction(function: Callable[..., Any]) -> Callable[..., Value]:
    def run(x: Value, dims: Any = None, keepdim: bool = False, **options: Any) -> Value:
        if options.pop("dtype", None) is not None:
            raise NotImplementedError("a reduction that changes the type")
        axes = _dims(x, dims)
        if not isinstance(x, Planes):
            return function(x, axis=axes, keepdims=keepdim, **options)
        if keepdim or sorted(axes) == [2, 3]:
            y = function(x.held_NHWC, axis=[_AXIS[d] for d in axes], keepdims=keepdim, **options)
            return Planes(y) if keepdim else y
        return function(plain(x), axis=axes, keepdims=False, **options)

    return run


def _variance(x: Any, *, axis: list[int], keepdims: bool, correction: float | None = 1) -> Any:
    sizes = [x.shape[d] for d in axis]
    if None in sizes:
        raise NotImplementedError("a variance over the images of a batch")
    count = int(np.prod(sizes))
    spread = tf.math.reduce_variance(x, axis, keepdims)
    return spread * (count / (count - (1 if correction is None else correction)))


OPERATORS.update(
    {
        aten.mean.dim: _reduction(tf.reduce_mean),
        aten.mean.default: _reduction(tf.reduce_mean),
        aten.sum.dim_IntList: _reduction(tf.reduce_sum),
        aten.sum.default: _reduction(tf.reduce_sum),
        aten.amax.default: _reduction(tf.reduce_max),
        aten.amin.default: _reduction(tf.reduce_min),
        aten.any.dim: _reduction(tf.reduce_any),
        aten.var.correction: _reduction(_variance),
    }
)


@_operator(aten.max.dim)
def _max(x: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    places = tf.argmax(x, dim)
    values = tf.reduce_max(x, dim, keepdim)
    return values, tf.expand_dims(places, dim) if keepdim else places


@_operator(aten.argmax.default)
def _argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        raise NotImplementedError("argmax of a whole tensor")
    return _max(x, dim, keepdim)[1]


@_operator(aten.topk.default)
def _topk(x: Any, k: int, dim: int = -1, largest: bool = True, ordered: bool = True) -> Any:
    if _dims(x, dim) != [x.shape.rank - 1] or not largest:
        raise NotImplementedError("topk of another dimension than the last, or of the least")
    values, places = tf.math.top_k(x, k)
    return values, tf.cast(places, tf.int64)


@_operator(aten.cumsum.default)
def _cumsum(x: Any, dim: int, *, dtype: Any = None) -> Any:
    dtype = _type(dtype) if dtype is not None else tf.int64 if not x.dtype.is_floating else x.dtype
    return tf.cumsum(tf.cast(x, dtype), dim)


@_operator(aten.linalg_vector_norm.default)
def _norm(x: Any, order: float = 2, dims: Any = None, keepdim: bool = False, **_: Any) -> Any:
    if order != 2:
        raise NotImplementedError(f"a norm of order {order}")
    return tf.sqrt(tf.reduce_sum(tf.square(x), _dims(x, dims), keepdim))


# Layers.


@_operator(aten.convolution.default, layout_free=True)
def convolution(
    x: Value,
    weight: Any,
    bias_C: Any | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    if transposed or weight.shape.rank > 4:
        raise NotImplementedError("a transposed convolution, or one of three dimensions")
    if weight.shape.rank == 3:  # One dimension is two, of which one has the size 1.
        two = Planes(tf.transpose(plain(x), (0, 2, 1))[:, None])
        lists = ([1, *stride], [0, *padding], [1, *dilation])
        y = convolution(two, weight[:, :, None], bias_C, *lists, False, [0, 0], groups)
        return tf.transpose(y.held_NHWC[:, 0], (0, 2, 1))
    x_NHWC = planes(x)
    kernel = weight.shape[2:]
    around: Any = "VALID"
    if all(
        s == 1 and 2 * p == d * (k - 1)
        for s, p, d, k in zip(stride, padding, dilation, kernel, strict=True)
    ):
        around = "SAME"
    else:
        x_NHWC = _padded(x_NHWC, padding)
    if groups == x_NHWC.shape[3] and groups > 1:
        filters = tf.reshape(weight, [groups, weight.shape[0] // groups, *kernel])
        filters = tf.transpose(filters, (2, 3, 0, 1))
        y_NHWC = tf.nn.depthwise_conv2d(
            x_NHWC, filters, [1, *stride, 1], around, dilations=list(dilation)
        )
    else:
        filters = tf.transpose(weight, (2, 3, 1, 0))
        y_NHWC = tf.nn.conv2d(x_NHWC, filters, list(stride), around, dilations=list(dilation))
    return Planes(y_NHWC if bias_C is None else tf.nn.bias_add(y_NHWC, bias_C))


def _padded(
    x_NHWC: Any, padding: Sequence[int], more: Sequence[int] = (0, 0), fill: float = 0
) -> Any:
    rows, columns = ([p, p + m] for p, m in zip((padding[0], padding[-1]), more, strict=True))
    if not any((*rows, *columns)):
        return x_NHWC
    return tf.pad(x_NHWC, [[0, 0], rows, columns, [0, 0]], constant_values=fill)


@_operator(aten._native_batch_norm_legit_no_training.default, layout_free=True)
def _batch_norm(
    x: Value, scale_C: Any, offset_C: Any, mean_C: Any, variance_C: Any, _: float, epsilon: float
) -> tuple[Value]:
    scale_C = tf.ones_like(mean_C) if scale_C is None else scale_C
    offset_C = tf.zeros_like(mean_C) if offset_C is None else offset_C
    if isinstance(x, Planes):
        y_NHWC, *_ = tf.compat.v1.nn.fused_batch_norm(
            x.held_NHWC, scale_C, offset_C, mean_C, variance_C, epsilon, is_training=False
        )
        return (Planes(y_NHWC),)
    scale_C = scale_C * tf.math.rsqrt(variance_C + epsilon)
    last = [-1] + [1] * (x.shape.rank - 2)
    return (x * tf.reshape(scale_C, last) + tf.reshape(offset_C - mean_C * scale_C, last),)


@_operator(aten._native_batch_norm_legit.no_stats)
def _standardised(
    x: Any, scale_C: Any, offset_C: Any, training: bool, _: float, epsilon: float
) -> tuple[Any]:
    axes = [0, *range(2, x.shape.rank)]
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    y = (x - mean) * tf.math.rsqrt(variance + epsilon)
    last = [-1] + [1] * (x.shape.rank - 2)
    y = y if scale_C is None else y * tf.reshape(scale_C, last)
    return (y if offset_C is None else y + tf.reshape(offset_C, last),)


@_operator(aten.native_layer_norm.default)
def _layer_norm(
    x: Any, shape: Sequence[int], scale: Any | None, offset: Any | None, epsilon: float
) -> tuple[Any]:
    axes = list(range(-len(shape), 0))
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
    y = (x - mean) * tf.math.rsqrt(variance + epsilon)
    y = y if scale is None else y * scale
    return (y if offset is None else y + offset,)


@_operator(aten.native_group_norm.default, layout_free=True)
def _group_norm(
    x: Value, scale_C: Any, offset_C: Any, _n: Any, channels: int, _hw: Any, groups: int, eps: float
) -> tuple[Value]:
    if not isinstance(x, Planes):
        raise NotImplementedError("a group norm of other than feature maps")
    sizes = _sizes(x.held_NHWC)
    grouped = tf.reshape(x.held_NHWC, _shape([*sizes[:3], groups, channels // groups]))
    mean, variance = tf.nn.moments(grouped, [1, 2, 4], keepdims=True)
    y_NHWC = tf.reshape((grouped - mean) * tf.math.rsqrt(variance + eps), _shape(sizes))
    y_NHWC = y_NHWC if scale_C is None else y_NHWC * scale_C
    return (Planes(y_NHWC if offset_C is None else y_NHWC + offset_C),)


@_operator(aten.max_pool2d_with_indices.default, layout_free=True)
def _max_pool(
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Value]:
    x_NHWC, stride = planes(x), stride or kernel
    more = _overhang(x_NHWC, kernel, stride, padding, ceil_mode)
    x_NHWC = _padded(x_NHWC, padding, more, -np.inf)
    return (Planes(tf.nn.pool(x_NHWC, kernel, "MAX", stride, "VALID", None, list(dilation))),)


@_operator(aten.avg_pool2d.default, layout_free=True)
def _avg_pool(
    x: Value,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Value:
    if divisor is not None:
        raise NotImplementedError("an average with a divisor of its own")
    x_NHWC, stride = planes(x), stride or kernel
    more = _overhang(x_NHWC, kernel, stride, padding, ceil_mode)
    y_NHWC = tf.nn.avg_pool2d(_padded(x_NHWC, padding, more), kernel, stride, "VALID")
    with tf.init_scope():  # Computed now, not in the graph.
        counted = _padded(tf.ones((1, *x_NHWC.shape[1:3], 1)), padding, fill=count_include_pad)
        counted = _padded(counted, (0, 0), more)
        share = tf.nn.avg_pool2d(counted, kernel, stride, "VALID").numpy()
    return Planes(y_NHWC if (share == 1).all() else y_NHWC / share)


def _overhang(
    x_NHWC: Any, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], ceil: bool
) -> list[int]:
    """Returns how far the last windows reach beyond rows and columns, in ceil mode."""
    beyond = []
    for size, k, s, p in zip(x_NHWC.shape[1:3], kernel, stride, padding, strict=True):
        windows = -(-(size + 2 * p - k) // s)
        if windows * s >= size + p:  # It would begin outside.
            windows -= 1
        beyond.append(max(0, windows * s + k - size - 2 * p) if ceil else 0)
    return beyond


def _resampling(target: Any) -> Callable[..., Value]:
    """What is a matrix for rows and one for columns, as PyTorch itself tells when asked."""

    def run(x: Value, *args: Any) -> Value:
        x_NHWC = planes(x)
        height, width = x_NHWC.shape[1:3]
        rows = torch.eye(height)[None, :, :, None].expand(-1, -1, -1, width)
        columns = torch.eye(width)[None, :, None].expand(-1, -1, height, -1)
        rows, columns = target(rows, *args)[0, :, :, 0], target(columns, *args)[0, :, 0]
        y_NHWC = tf.einsum("nhwc,hy->nywc", x_NHWC, tf.constant(rows.numpy()))
        return Planes(tf.einsum("nywc,wx->nyxc", y_NHWC, tf.constant(columns.numpy())))

    return run


for _target in (
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_bicubic2d.vec,
    aten._upsample_bilinear2d_aa.default,
    aten._upsample_bicubic2d_aa.default,
    aten._adaptive_avg_pool2d.default,
):
    OPERATORS[_target] = _resampling(_target)


@_operator(aten.adaptive_avg_pool2d.default, layout_free=True)
def _adaptive_avg_pool(x: Value, size: Sequence[int]) -> Value:
    if tuple(size) == (1, 1):
        return Planes(tf.reduce_mean(planes(x), [1, 2], keepdims=True))
    return OPERATORS[aten._adaptive_avg_pool2d.default](x, size)


@_operator(aten.linear.default)
def _linear(x: Any, weight: Any, bias: Any | None = None) -> Any:
    sizes = _sizes(x)
    y = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), weight, transpose_b=True)
    y = y if bias is None else tf.nn.bias_add(y, bias)
    return tf.reshape(y, _shape([*sizes[:-1], weight.shape[0]]))


@_operator(aten.addmm.default)
def _addmm(bias: Any, a: Any, b: Any) -> Any:
    return tf.matmul(a, b) + bias


@_operator(aten.mm.default, aten.bmm.default, aten.matmul.default)
def _matmul(a: Any, b: Any) -> Any:
    if min(a.shape.rank, b.shape.rank) < 2:
        raise NotImplementedError("a product with a vector")
    return tf.matmul(a, b)


@_operator(aten.scaled_dot_product_attention.default)
def _attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any | None = None,
    dropout: float = 0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    **options: Any,
) -> Any:
    if is_causal or any(options.values()):
        raise NotImplementedError("causal or grouped attention")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = tf.matmul(query * scale, key, transpose_b=True)
    if mask is not None:
        logits = tf.where(mask, logits, -np.inf) if mask.dtype == tf.bool else logits + mask
    return tf.matmul(tf.nn.softmax(logits), value)


@_operator(aten._softmax.default)
def _softmax(x: Any, dim: int, *_: Any) -> Any:
    return tf.nn.softmax(x, dim)


@_operator(aten._log_softmax.default)
def _log_softmax(x: Any, dim: int, *_: Any) -> Any:
    return tf.nn.log_softmax(x, dim)
