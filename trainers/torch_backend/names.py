"""The models the PyTorch backend knows by name, found without importing timm.

Importing timm takes seconds (it imports torch and every architecture); its
sources say the same in a few hundredths of a second.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

BUILT_IN = ("small_cnn", "resnet20")

_REGISTERED = re.compile(rb"^@register_model\s*\ndef (\w+)", re.MULTILINE)


def model_names() -> list[str]:
    """The built-in networks, then timm's architectures in alphabetical order."""
    return [*BUILT_IN, *timm_names()]


def timm_names() -> list[str]:
    """What `timm.list_models()` lists: every function under `@register_model`."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return []
    folder = Path(spec.submodule_search_locations[0]) / "models"
    found = {n for file in folder.glob("*.py") for n in _REGISTERED.findall(file.read_bytes())}
    return sorted(name.decode() for name in found)
