"""How much memory a server takes at most, by its limits: what a pod has to be given."""

from __future__ import annotations

from serving.config import LimitsConfig

BASE = 800 * 2**20
"""Bytes of a server without models: Python, TensorFlow, ONNX Runtime, both ports."""
PER_PIXEL = 16
"""Bytes while an image is decoded: the pixels, a progressive JPEG's coefficients, what
Pillow holds beside them, and the float copy of models that an older visionline trained."""
PER_BODY = 3
"""Times its size that a request takes: as received, unpacked, and its images by themselves."""
PER_MODEL = 8
"""Times the files of the models that are pushed: the weights of both engines with what they
work in, and a new version beside the old one."""


def memory_bytes(limits: LimitsConfig, model_bytes: int = 0) -> int:
    """What a server may take, in bytes.

    Args:
      model_bytes: of the files of all versions that are served at a time.
    """
    return (
        BASE
        + PER_PIXEL * limits.decoding_pixels
        + PER_BODY * limits.server_body_bytes
        + PER_MODEL * model_bytes
    )
