"""Counts the parameters of the small models: `python -m trainers.sizes FRAMEWORK`."""

from __future__ import annotations

import json
import sys

from trainers.contract import load_backend
from trainers.frameworks import get_framework


def count(name: str) -> dict[str, int]:
    """Returns trainable weights by model name, with 10 classes."""
    backend, chosen = load_backend(name), get_framework(name)
    models = [m for m in chosen.model_names() if m in chosen.counted]
    return {
        m: backend.count_parameters(m, num_classes=10, image_size=chosen.counted[m]) for m in models
    }


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1])))
