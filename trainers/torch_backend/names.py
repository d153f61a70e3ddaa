"""The models the PyTorch backend knows by name, found without importing timm.

Importing timm takes seconds (it imports torch and every architecture); its
sources say the same in a few hundredths of a second.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

BUILT_IN = ("small_cnn", "resnet20")
COUNTED = dict.fromkeys(BUILT_IN, (32, 32)) | dict.fromkeys(
    (
        *("mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0"),
        *("resnet10t", "resnet18", "regnetx_002", "convnext_atto", "convnext_femto"),
        *("ghostnet_100", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "mobileone_s0"),
        "edgenext_xx_small",
    ),
    (224, 224),
)
"""Well-known models of at most about 12 million parameters (see `Framework.counted`)."""

_REGISTERED = re.compile(rb"^@register_model\s*\ndef (\w+)", re.MULTILINE)


def model_names() -> list[str]:
    """Lists the built-in networks, then timm's architectures in alphabetical order."""
    return [*BUILT_IN, *timm_names()]


def timm_names() -> list[str]:
    """Lists what `timm.list_models()` does: every function under `@register_model`."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return []
    folder = Path(spec.submodule_search_locations[0]) / "models"
    names = {n for file in folder.glob("*.py") for n in _REGISTERED.findall(file.read_bytes())}
    return sorted(name.decode() for name in names)
