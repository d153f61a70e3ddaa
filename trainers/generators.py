"""The random generators of Python and NumPy that a model's own code may draw from."""

from __future__ import annotations

import random

import numpy as np

from trainers.contract import Arrays

_PYTHON, _NUMPY = "generators/python", "generators/numpy"


def state() -> Arrays:
    """Returns where both are; the inverse of `set_state`."""
    _, words, gauss = random.getstate()
    _, keys, place, has_gauss, of_gauss = np.random.get_state(legacy=True)
    return {
        _PYTHON: np.array(words, np.uint32),
        f"{_PYTHON}/gauss": np.array([] if gauss is None else [gauss]),
        _NUMPY: np.array(keys),
        f"{_NUMPY}/place": np.array([place, has_gauss]),
        f"{_NUMPY}/gauss": np.array(of_gauss),
    }


def set_state(state: Arrays) -> None:
    gauss = state[f"{_PYTHON}/gauss"].tolist()
    random.setstate((3, tuple(state[_PYTHON].tolist()), gauss[0] if gauss else None))
    place, has_gauss = state[f"{_NUMPY}/place"].tolist()
    of_gauss = float(state[f"{_NUMPY}/gauss"])
    np.random.set_state(("MT19937", state[_NUMPY], place, has_gauss, of_gauss))
