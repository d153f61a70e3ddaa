"""Requests and loads, measured and logged."""

from __future__ import annotations

import time
from typing import Any

from serving.errors import client_text
from serving.logs.log import Log
from serving.logs.metrics import Metrics
from serving.logs.record import CURRENT, Record


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
        self._write = log.write if log is not None else lambda line: None
        self._each_request = each_request

    def begin(self, record: Record) -> None:
        """Makes it the current one, until its task ends, and counts it."""
        CURRENT.set(record)
        self.metrics.began(record.protocol)

    def end(self, record: Record) -> None:
        """Measures and logs it; called once, when the answer is sent and `status` is set.

        Probes have no line: there are more of them than of all else.
        """
        seconds = time.perf_counter() - record.began
        self.metrics.ended(record, seconds)
        if self._each_request and not record.is_probe:
            self._write(_line(record, seconds))

    def control(self, call: str, record: Record) -> None:
        """Logs a request that changes what is loaded; also where requests are not logged."""
        line = {"kind": "control", "detail": call, "model": record.model}
        self._write({**line, "request_id": record.request_id, "peer": record.peer})

    def event(self, kind: str, model: str, version: int, detail: str) -> None:
        """Takes a `serving.models.loader.Event`."""
        self.metrics.event(kind, model)
        line = {"kind": kind, "model": model, "version": version or None, "detail": detail}
        self._write(line)


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
        line["reason"] = record.reason
        if record.outcome == "failed":  # a refusal's text may quote what was sent
            line["error"] = client_text(record.error)
    return line
