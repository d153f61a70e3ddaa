"""What is kept of each request while it is answered, then measured and logged.

The ports begin a record (`protocols.recording`), what answers fills it in.  It is found
by `current()`, in the task of the request.
"""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from common.errors import ServingError
from serving.errors import told
from serving.logs.log import Log
from serving.logs.metrics import Metrics
from serving.models.batching import Timing

HEADER = "x-request-id"
_LONGEST_ID = 128
_LONGEST_PATH = 512

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
    def outcome(self) -> str:
        if isinstance(self.status, int):
            return "ok" if self.status < 400 else "refused" if self.status < 500 else "failed"
        if self.status == "OK":
            return "ok"
        return "refused" if self.status in _REFUSED_CODES else "failed"


_current: ContextVar[Record] = ContextVar("record")


def current() -> Record:
    """The record of the request that this task answers; outside of one, an empty one."""
    return _current.get(None) or Record()


class Access:
    """Measures and logs the requests and loads of one server.

    Args:
      log: where to; None: nothing is logged.
      each_request: whether requests are logged, and not loads alone.
    """

    def __init__(self, log: Log | None = None, each_request: bool = True) -> None:
        self.metrics = Metrics()
        if log is not None:
            log.lost = self.metrics.lost_lines
        self._log = log
        self._each_request = each_request

    def begin(self, record: Record) -> None:
        """Makes it the current one of this task.

        It stays that until the task ends, for what is logged of it after the answer.
        """
        _current.set(record)
        self.metrics.began(record.protocol)

    def end(self, record: Record) -> None:
        """To be called once, when the answer is sent; `status` is set."""
        seconds = time.perf_counter() - record.began
        outcome, error = record.outcome, record.error
        self.metrics.ended(
            protocol=record.protocol,
            model=record.model,
            version="" if record.version is None else str(record.version),
            code=str(record.status),
            outcome=outcome,
            reason="" if error is None else _reason(error),
            images=record.images if outcome == "ok" else 0,
            seconds=seconds,
        )
        if self._log is not None and self._each_request:
            self._log.write(_line(record, seconds))

    def control(self, call: str, record: Record) -> None:
        """A request that changes what is loaded; logged also where requests are not."""
        if self._log is not None:
            line = {"kind": "control", "detail": call, "model": record.model}
            self._log.write({**line, "request_id": record.request_id, "peer": record.peer})

    def event(self, kind: str, model: str, version: int, detail: str) -> None:
        """See `repository.Event`."""
        self.metrics.event(kind, model)
        if self._log is not None:
            line = {"kind": kind, "model": model, "version": version or None, "detail": detail}
            self._log.write(line)


def _line(record: Record, seconds: float) -> dict[str, Any]:
    line = {
        "kind": "request",
        "request_id": record.request_id,
        "protocol": record.protocol,
        **record.call,
        "model": record.model,
        "version": record.version,
        "status": record.status,
        "images": record.images,
        "bytes_in": record.bytes_in,
        "queue_ms": round(record.timing.queued * 1000, 3),
        "model_ms": round(record.timing.model * 1000, 3),
        "total_ms": round(seconds * 1000, 3),
        "peer": record.peer,
    }
    if record.error is not None:
        line["reason"] = _reason(record.error)
        if record.outcome == "failed":  # a refusal's text may quote what was sent
            line["error"] = told(record.error)
    return line


def _reason(error: ServingError) -> str:
    """Its kind, such as "Busy"."""
    return type(error).__name__.removesuffix("Error")


def choose_id(given: str | None) -> str:
    """The client's own, where it is printable ASCII and not too long; or a new one."""
    if given and len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return os.urandom(16).hex()


def shortened(path: str) -> str:
    return path[:_LONGEST_PATH]
