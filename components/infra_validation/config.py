"""How a candidate is tried in the server before it is pushed."""

from __future__ import annotations

from dataclasses import dataclass

from common.config.ranges import require

MOST_EXAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class InfraValidationConfig:
    """How a candidate is tried in the server before it is pushed."""

    enabled: bool = True
    """Whether a blessed model is loaded by the server, and asked, before it is pushed."""
    examples: int = 16
    """Images of the evaluation split that the server is asked about."""
    max_p99_ms: float | None = None
    """The longest that 99 of 100 requests for one image may take, over REST and gRPC; by
    default it is measured and not judged."""
    timeout_seconds: float = 300.0
    """For the server to load the model, and for each answer."""
    threads: int = 1
    """Of the server's engines; 0: one per CPU. Latencies of different counts do not compare."""

    def __post_init__(self) -> None:
        require(
            1 <= self.examples <= MOST_EXAMPLES,
            f"examples: expected 1 to {MOST_EXAMPLES}, got {self.examples}.",
        )
        require(
            self.max_p99_ms is None or self.max_p99_ms > 0,
            f"max_p99_ms: expected more than 0, got {self.max_p99_ms!r}.",
        )
        require(
            0 < self.timeout_seconds <= 86_400,
            f"timeout_seconds: expected more than 0, at most a day, got {self.timeout_seconds!r}.",
        )
        require(self.threads >= 0, f"threads: expected 0 or more, got {self.threads}.")
