"""How much memory a server takes at most, by its limits: what a pod has to be given.

And how it gives back what it took for a moment, and keeps Python's collector off the rest.
"""

from __future__ import annotations

import ctypes
import gc

from serving.config import LimitsConfig

BASE = 800 * 2**20
"""Bytes of a server without models: Python, TensorFlow, ONNX Runtime, both ports."""
PER_PIXEL = 16
"""Bytes while an image is decoded: the pixels, a progressive JPEG's coefficients, what
Pillow holds beside them, and the float copy of models that an older visionline trained."""
PER_BODY = 4
"""Times its size that a request takes: as received, unpacked, and its images by themselves."""
PER_MODEL = 8
"""Times the files of the models that are pushed: the weights of both engines with what they
work in, and a new version beside the old one."""

_LIBC = ctypes.CDLL(None)
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def memory_bytes(limits: LimitsConfig, model_bytes: int = 0) -> int:
    """Returns what a server may take, in bytes.

    Args:
      model_bytes: of the files of all versions that are served at a time.
    """
    return (
        BASE
        + PER_PIXEL * limits.decoding_pixels
        + PER_BODY * limits.server_body_bytes
        + PER_MODEL * model_bytes
    )


def keep_little() -> None:
    """Has the C library hand freed memory back to the system; before threads are started.

    By itself it keeps what was freed, in a heap for each of eight threads per CPU, and with
    every block that is freed larger ones come from there.
    """
    if hasattr(_LIBC, "mallopt"):
        for option, value in ((_M_MMAP_THRESHOLD, 2**20), (_M_ARENA_MAX, 4)):
            _LIBC.mallopt(option, value)


def give_back() -> None:
    """Hands what is free back to the system; some milliseconds, without Python's lock."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def tidy(kind: str) -> None:
    """Takes what is loaded out of the collector's sight; looks once when something went.

    TensorFlow's modules and a model's graph are some 300,000 objects.  The collector looks at
    all of them again and again, with every thread stopped: 0.2 s at a time, on requests.

    Args:
      kind: of an `Event` of the loader.
    """
    if kind in ("failed", "unloaded"):
        gc.unfreeze()
        gc.collect()
    if kind in ("loaded", "failed", "unloaded"):
        gc.freeze()
