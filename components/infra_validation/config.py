"""How a candidate is tried in the server before it is pushed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from common.config.ranges import DAY, MOST_THREADS, between, more_than
from common.config.strict import Checked

MOST_EXAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class InfraValidationConfig(Checked):
    """How a candidate is tried in the server before it is pushed."""

    enabled: bool = True
    """Whether a blessed model is loaded by the server, and asked, before it is pushed."""
    examples: Annotated[int, between(1, MOST_EXAMPLES)] = 16
    """Images of the evaluation split that the server is asked about."""
    max_p99_ms: Annotated[float, more_than(0)] | None = None
    """The longest that 99 of 100 requests for one image may take, over REST and gRPC; by
    default it is measured and not judged."""
    timeout_seconds: Annotated[float, more_than(0, at_most=DAY)] = 300.0
    """For the server to load the model, and for each answer."""
    threads: Annotated[int, between(0, MOST_THREADS)] = 1
    """Of the server's engines; 0: one per CPU. Latencies of different counts do not compare."""
