"""Starting from local weights: `.keras` and `.weights.h5` files.

Keras writes weights to HDF5 under paths made of the layers' kinds and their
order (`layers/conv2d_1/vars/0`).  A file fits a model that has the same paths
and shapes, except for the classifier, whose number of classes may differ.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from common.errors import ConfigError
from trainers.keras_backend.models import network_of

log = logging.getLogger(__name__)

SUFFIXES = (".keras", ".weights.h5")
Shapes = dict[str, tuple[int, ...]]


def load(model: Any, pretrained: str, num_classes: int) -> None:
    """Loads weights into a model that `models.build` made.

    Args:
      pretrained: a file, or a folder with exactly one; saved from such a
        model (`model.keras` of a run) or from the network without its
        normalisation (`keras.applications.…(…).save_weights(…)`).

    Raises:
      ConfigError: no such file, or one that does not fit.
    """
    path = _file(Path(pretrained))
    with tempfile.TemporaryDirectory() as folder, _weights(path) as source:
        shapes = _shapes(source)
        target, fresh = _likeliest(model, shapes, Path(folder))
        with h5py.File(fresh, "r+") as own:
            problem, head = _compare(_shapes(own), shapes, num_classes)
            if problem:
                raise ConfigError(
                    f"pretrained: {path} does not fit the model: {problem}"
                    " Give weights of the same architecture and arguments."
                )
            for name in shapes.keys() - head:
                own[name][...] = source[name][...]
        target.load_weights(fresh)
    _correct_efficientnet(target)
    if head:
        log.info("%s: the classifier has other classes and starts fresh.", path)


def _likeliest(model: Any, shapes: Shapes, folder: Path) -> tuple[Any, Path]:
    """The model or its network, whichever shares more paths with a file; saved to a file."""
    candidates: list[tuple[int, Any, Path]] = []
    for target in dict.fromkeys((model, network_of(model))):
        fresh = folder / f"{len(candidates)}.weights.h5"
        target.save_weights(fresh)
        with h5py.File(fresh, "r") as own:
            shared = len(_shapes(own).keys() & shapes.keys())
        candidates.append((shared, target, fresh))
    _, target, fresh = max(candidates, key=lambda candidate: candidate[0])
    return target, fresh


def _file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES))
        if len(files) != 1:
            raise ConfigError(
                f"pretrained: expected one .keras or .weights.h5 file in {path}, found"
                f" {', '.join(p.name for p in files) or 'none'}. Name the file itself."
            )
        return files[0]
    if not path.is_file():
        raise ConfigError(f"pretrained: no file or folder {path}. Give a local path.")
    if not path.name.endswith(SUFFIXES):
        raise ConfigError(
            f"pretrained: expected a .keras or .weights.h5 file, got {path.name}."
            " Load it with Keras and write it with model.save_weights('name.weights.h5')."
        )
    return path


@contextlib.contextmanager
def _weights(path: Path) -> Iterator[Any]:
    """The HDF5 file that a `.weights.h5` is and a `.keras` contains."""
    with contextlib.ExitStack() as stack:
        try:
            if path.suffix == ".keras":
                archive = stack.enter_context(zipfile.ZipFile(path))
                file = h5py.File(stack.enter_context(archive.open("model.weights.h5")), "r")
            else:
                file = h5py.File(path, "r")
        except (OSError, KeyError, zipfile.BadZipFile) as e:
            raise ConfigError(f"pretrained: cannot read {path} as Keras weights: {e}") from e
        yield stack.enter_context(file)


def _shapes(file: Any) -> Shapes:
    shapes: Shapes = {}

    def visit(name: str, item: Any) -> None:
        # The optimizer's state of a compiled model is of no use here.
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            shapes[name] = item.shape

    file.visititems(visit)
    return shapes


def _compare(expected: Shapes, received: Shapes, num_classes: int) -> tuple[str, set[str]]:
    """Says what does not fit ("" if nothing), and the classifier's paths if it differs."""
    missing = sorted(expected.keys() - received.keys())
    extra = sorted(received.keys() - expected.keys())
    if missing or extra:
        return (
            f"expected {len(expected)} arrays, found {len(received)};"
            + (f" it has no {missing[0]}." if missing else f" the model has no {extra[0]}.")
        ), set()
    other = {name for name, shape in expected.items() if received[name] != shape}
    classifiers = {name.rpartition("/vars/")[0] for name in other}
    for name in sorted(other):
        widths_differ_only = (
            expected[name][-1:] == (num_classes,) and expected[name][:-1] == received[name][:-1]
        )
        if not widths_differ_only or len(classifiers) > 1:
            return f"expected {name} of shape {expected[name]}, found {received[name]}.", set()
    return "", other


def _correct_efficientnet(network: Any) -> None:
    """Repairs the input scale of EfficientNetB0 to B7 with Keras's ImageNet weights.

    Those files hold the standard deviations in place of the variances, which a
    further layer makes up for that Keras builds only when it downloads the
    weights itself (keras/src/applications/efficientnet.py).
    """
    deviations = np.array([0.229, 0.224, 0.225])
    if not network.name.startswith("efficientnetb"):
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and len(layer.get_weights()) == 3:
            mean, variance, count = layer.get_weights()
            if np.allclose(variance, deviations, atol=1e-3):
                layer.set_weights([mean, variance**2, count])
                layer.finalize_state()
