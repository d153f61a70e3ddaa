"""Numbers of a request, as uint8 arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.errors import InvalidRequestError

Bytes = npt.NDArray[np.uint8]

_SHORT = 64
"""Numbers that are left as a list: it may be a shape."""
_PART = 1 << 16
_RAGGED = "Expected lists of the same length, got ragged ones."


def collapsed(values: list[Any]) -> Bytes | None:
    """Makes nested lists of many numbers an array; None for others.

    Raises:
      InvalidRequestError: they are no whole numbers from 0 to 255.
    """
    try:
        flat, shape = flatten(values)
    except InvalidRequestError:
        return None
    if len(flat) < _SHORT or not set(map(type, flat)) <= {int, float}:
        return None
    return to_bytes(flat).reshape(shape)


def pixels_of(values: Any) -> tuple[Bytes, tuple[int, ...]]:
    """Returns flat uint8, and the shape, of nested lists that may hold arrays already.

    Raises:
      InvalidRequestError: ragged, or no whole numbers from 0 to 255.
    """
    if isinstance(values, np.ndarray):
        return values.ravel(), values.shape
    if any(isinstance(v, np.ndarray) for v in values):
        parts = [pixels_of(v) if isinstance(v, np.ndarray | list) else None for v in values]
        shapes = {part[1] if part else () for part in parts}
        if len(shapes) != 1:
            raise InvalidRequestError(_RAGGED)
        return np.concatenate([part[0] for part in parts if part]), (len(parts), *shapes.pop())
    flat, shape = flatten(values)
    return to_bytes(flat), shape


def pixels(values: Any, shape: tuple[int, int, int]) -> Bytes:
    """Converts numbers from JSON to uint8 [N, H, W, 3].

    Raises:
      InvalidRequestError: ragged, no whole numbers from 0 to 255, or of another shape.
    """
    flat, sides = pixels_of(values)
    if len(sides) != 4 or sides[1:] != shape:
        raise InvalidRequestError(
            f"Expected pixels of shape [N, {', '.join(map(str, shape))}], got {list(sides)}."
        )
    return flat.reshape(sides)


def of_repeated(values: Any) -> Bytes:
    """Converts an array or a repeated field; in parts, since they take eight times as much.

    Raises:
      InvalidRequestError: they are no whole numbers from 0 to 255.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.uint8:
        return values
    starts = range(0, len(values), _PART)
    parts = [to_bytes(values[i : i + _PART]) for i in starts]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def flatten(values: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """Returns what is in nested lists of JSON, and their shape.

    Written here, since NumPy makes room for the longest string as often as there are
    values, and takes true for 1.

    Raises:
      InvalidRequestError: they are ragged.
    """
    shape = [len(values)]
    while values and any(isinstance(v, list) for v in values):
        sides = {len(v) if isinstance(v, list) else -1 for v in values}
        if len(sides) != 1:
            raise InvalidRequestError(_RAGGED)
        shape.append(sides.pop())
        values = list(itertools.chain.from_iterable(values))
    return values, tuple(shape)


def to_bytes(values: Any) -> Bytes:
    """Converts a flat list of numbers, or an array of them, to uint8.

    Raises:
      InvalidRequestError: they are no whole numbers from 0 to 255.
    """
    refusal = InvalidRequestError("Expected pixels as whole numbers from 0 to 255.")
    if isinstance(values, list) and not set(map(type, values)) <= {int, float}:
        raise refusal
    try:
        numbers = np.asarray(values, np.float64)
    except OverflowError:
        raise refusal from None
    # A NaN compares as false.
    if not ((numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))).all():
        raise refusal
    return numbers.astype(np.uint8)
