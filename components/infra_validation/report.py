"""What infra validation found: a file in the InfraBlessing artifact."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.config.strict import dump, parse
from common.files import read_json, write_json

REPORT = "infra_validation.json"


class NotBlessedError(Exception):
    """The candidate was tried, and will not do; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of requests for one image, one after the other, in milliseconds."""

    p50_ms: float
    p99_ms: float
    requests: int


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found, as far as it went."""

    blessed: bool = False
    why_not: str = ""
    tried: bool = True
    """False: the Evaluator had not blessed the model; `why_not` says that it was skipped."""
    examples: int = 0
    """Images that each protocol was asked about."""
    probes: int = 0
    """Raw files of odd kinds that each protocol was asked about."""
    engine: str = ""
    """That the server chose."""
    loading_seconds: float | None = None
    """From when the version was there, to when it answered."""
    largest_difference: float | None = None
    """Of any score from the model's own."""
    latency: dict[str, Latency] = field(default_factory=dict)
    """By protocol: "rest", TensorFlow Serving's V1, and "grpc", its PredictionService."""

    def write(self, directory: Path) -> None:
        write_json(directory / REPORT, dump(self))

    @classmethod
    def read(cls, directory: Path) -> Report:
        return parse(cls, read_json(directory / REPORT))

    def failures(self) -> list[str]:
        """Returns why a candidate that was tried will not do, if so."""
        return [f"infra validation: {self.why_not}"] if self.tried and not self.blessed else []

    def facts(self) -> dict[str, str | int | float]:
        """Properties for the execution; of a model that was not tried there is no verdict."""
        if not self.tried:
            return {"skipped": self.why_not}
        found: dict[str, str | int | float | None] = {
            "blessed": int(self.blessed),
            "why_not_blessed": self.why_not or None,
            "examples": self.examples,
            "probes": self.probes,
            "engine": self.engine or None,
            "loading_seconds": self.loading_seconds,
            "largest_difference": self.largest_difference,
        }
        for protocol, latency in sorted(self.latency.items()):
            found[f"{protocol}_p50_ms"] = latency.p50_ms
            found[f"{protocol}_p99_ms"] = latency.p99_ms
        return {k: v for k, v in found.items() if v is not None}
