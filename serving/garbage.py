"""Python's collector and what is loaded.

TensorFlow's modules and a model's graph are some 300,000 objects.  The collector looks at
all of them again and again, with every thread stopped: 0.2 s at a time, on requests.
"""

from __future__ import annotations

import gc


def tidy(kind: str, model: str, version: int, detail: str) -> None:
    """An `Event` of the loader: takes what is loaded out of the collector's sight, and
    looks at everything once when something went."""
    if kind == "loaded":
        gc.freeze()
    elif kind in ("failed", "unloaded"):
        gc.unfreeze()
        gc.collect()
        gc.freeze()
