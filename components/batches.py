"""How much of the data TFX's steps hold at a time: 1,000 examples, and about 20 MB of files.

TFX sizes its batches by time alone, up to 1,000 examples: with photographs of a megabyte
that is a gigabyte, several times over.
"""

from __future__ import annotations

from absl import flags
from tfx_bsl.coders import batch_util

_MOST = 1000


def bound_batches() -> None:
    """Call before a pipeline is built; it reaches Beam's workers in what they are given."""
    flags.set_default(batch_util._USE_BYTE_SIZE_BATCHING, True)
    batch_util._BATCH_SIZE_CAP_WITH_BYTE_TARGET = _MOST
