"""What infra validation found: a file in the InfraBlessing artifact."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.config.strict import dump, parse
from common.files import read_json, write_json
from common.record.steps import Trial

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

    def record(self) -> Trial:
        """Returns what the execution says; of a model that was not tried there is no verdict."""
        if not self.tried:
            return Trial(skipped=self.why_not)
        rest, grpc = self.latency.get("rest"), self.latency.get("grpc")
        return Trial(
            blessed=self.blessed,
            why_not_blessed=self.why_not or None,
            examples=self.examples,
            probes=self.probes,
            engine=self.engine or None,
            loading_seconds=self.loading_seconds,
            largest_difference=self.largest_difference,
            rest_p50_ms=rest.p50_ms if rest else None,
            rest_p99_ms=rest.p99_ms if rest else None,
            grpc_p50_ms=grpc.p50_ms if grpc else None,
            grpc_p99_ms=grpc.p99_ms if grpc else None,
        )
