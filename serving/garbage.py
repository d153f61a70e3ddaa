"""Python's collector and what is loaded.

TensorFlow's modules and a model's graph are some 300,000 objects.  The collector looks at
all of them again and again, with every thread stopped: 0.2 s at a time, on requests.
"""

from __future__ import annotations

import gc


def freeze() -> None:
    """Takes all that there is now out of the collector's sight; after a load."""
    gc.freeze()


def collect() -> None:
    """Looks at everything once, so that what was unloaded goes; after an unload."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
