"""The list of Keras models, read from Keras's source."""

from __future__ import annotations

import inspect
import subprocess
import sys

from trainers.contract import load_backend
from trainers.frameworks import get_framework


def test_names_are_those_of_keras_applications() -> None:
    load_backend("keras")
    import keras

    public = {name for name, value in vars(keras.applications).items() if inspect.isfunction(value)}
    names = get_framework("keras").model_names()
    assert names[:2] == ["small_cnn", "resnet20"]
    assert set(names[2:]) == public
    assert len(names) == len(set(names))


def test_names_are_listed_without_importing_keras() -> None:
    code = (
        "import sys; from trainers.frameworks import get_framework;"
        "assert 'MobileNetV3Small' in get_framework('keras').model_names();"
        "heavy = {'keras', 'tensorflow', 'numpy', 'h5py'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
