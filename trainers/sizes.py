"""Counts the parameters of the small models: `python -m trainers.sizes FRAMEWORK`."""

from __future__ import annotations

import json
import sys

from trainers.backends import load_backend, model_names

SMALL = {
    "small_cnn",
    "resnet20",
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "NASNetMobile"),
    *("EfficientNetB0", "EfficientNetV2B0", "DenseNet121"),
    *("mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0"),
    *("resnet10t", "resnet18", "regnetx_002", "convnext_atto", "convnext_femto", "ghostnet_100"),
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "mobileone_s0", "edgenext_xx_small"),
}
"""Well-known names of at most about 12 million parameters, of either framework."""


def count(framework: str) -> dict[str, int]:
    """Trainable weights by model name, with 10 classes."""
    backend = load_backend(framework)
    sizes = {"small_cnn": (32, 32), "resnet20": (32, 32)}
    return {
        name: backend.count_parameters(name, num_classes=10, image_size=sizes.get(name, (224, 224)))
        for name in model_names(framework)
        if name in SMALL
    }


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1])))
