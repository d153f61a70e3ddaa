"""The models this backend offers by name, listed without importing Keras.

Importing Keras takes seconds, and names are asked for by `--help`, by shell
completion and to check a config; so they are read from Keras's source.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

SMALL_MODELS = ("small_cnn", "resnet20")
"""The models that `trainers.keras_backend.models` builds itself."""
COUNTED = dict.fromkeys(SMALL_MODELS, (32, 32)) | dict.fromkeys(
    (
        *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "NASNetMobile"),
        *("EfficientNetB0", "EfficientNetV2B0", "DenseNet121"),
    ),
    (224, 224),
)
"""Well-known models of at most about 12 million parameters (see `Framework.counted`)."""

_EXPORT = re.compile(r"@keras_export\(([^)]*)\)")
_NAME = re.compile(r"[\"']keras\.applications\.([A-Z]\w*)[\"']")


@functools.cache
def application_names() -> tuple[str, ...]:
    """Models of `keras.applications`; none where Keras is not installed."""
    spec = importlib.util.find_spec("keras")  # Finds it, does not import it.
    if spec is None or spec.origin is None:
        return ()
    names: set[str] = set()
    for source in Path(spec.origin).parent.glob("src/applications/*.py"):
        for export in _EXPORT.findall(source.read_text("utf-8")):
            names.update(_NAME.findall(export))
    return tuple(sorted(names))


def model_names() -> list[str]:
    return [*SMALL_MODELS, *application_names()]
