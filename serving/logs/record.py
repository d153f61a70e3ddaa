"""What is kept of each request while it is answered, then measured and logged.

The ports begin a record (`protocols.recording`), what answers fills it in.  It is found
by `current()`, in the task of the request.
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from common.errors import ServingError
from serving.models.shares import Timing

HEADER = "x-request-id"
_LONGEST_ID = 128
LONGEST_PATH = 512

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
PROBE_METHODS = frozenset(
    {
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }
)
"""They ask every few seconds whether the server is well."""

_REFUSED_CODES = frozenset(
    {
        *("CANCELLED", "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED"),
        *("RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNIMPLEMENTED"),
    }
)
"""gRPC's counterparts of 4xx."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One request."""

    protocol: str = ""
    """"v1", "v2", "v2-grpc", "tfs-grpc", "file"; "" for probes and unknown paths."""
    request_id: str = ""
    call: dict[str, str] = field(default_factory=dict)
    """HTTP's method and path, without the query; or the rpc."""
    peer: str = ""
    began: float = field(default_factory=time.perf_counter)
    bytes_in: int = 0
    """Of the body or message, as it was sent."""
    model: str = ""
    """Only of those that are there."""
    version: int | None = None
    """That answers."""
    images: int = 0
    timing: Timing = field(default_factory=Timing)
    status: int | str | None = None
    """HTTP's status, or the name of gRPC's code."""
    error: ServingError | None = None
    """Why it was refused."""

    @property
    def is_probe(self) -> bool:
        return self.call.get("path") in PROBE_PATHS or self.call.get("rpc") in PROBE_METHODS

    @property
    def outcome(self) -> str:
        if isinstance(self.status, int):
            return "ok" if self.status < 400 else "refused" if self.status < 500 else "failed"
        if self.status == "OK":
            return "ok"
        return "refused" if self.status in _REFUSED_CODES else "failed"

    @property
    def reason(self) -> str:
        """Returns the kind of its refusal, such as "Busy"; "" where it has none."""
        return type(self.error).__name__.removesuffix("Error") if self.error else ""


CURRENT: ContextVar[Record] = ContextVar("record")
"""That of a task, to its end: for what is logged after the answer."""


def current() -> Record:
    """Returns the record of the request that this task answers; outside of one, an empty one."""
    return CURRENT.get(None) or Record()


def choose_id(sent: str | None) -> str:
    """Returns the client's own, where it is printable ASCII and not too long; or a new one."""
    if sent and len(sent) <= _LONGEST_ID and sent.isascii() and sent.isprintable():
        return sent
    return os.urandom(16).hex()
