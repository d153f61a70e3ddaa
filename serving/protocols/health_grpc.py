"""Health over gRPC, grpc.health.v1, as Kubernetes' gRPC probes and grpc_health_probe ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import nearest
from serving.errors import BusyError, UnknownServiceError
from serving.service import Service

_LOOK_SECONDS = 0.25
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Check, and Watch, which tells of every change and ends when the server drains.

    Args:
      services: those that are offered; all are as ready as the server, whose name is "" or
        "readiness".  "liveness" is served while the process lives.
    """

    def __init__(self, service: Service, services: Collection[str]) -> None:
        self._service = service
        self._ready = {"", "readiness", *services}
        self._watched = 0

    async def Check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == _UNKNOWN:
            known = sorted({*self._ready, "liveness"} - {""})
            raise UnknownServiceError(
                f"No service {request.service!r}.{nearest(request.service, known)}"
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if self._watched >= self._service.limits.concurrency:
            error = BusyError(f"{self._watched} clients are watching; ask with Check.")
            await context.abort(grpc.StatusCode[error.code], str(error))
        self._watched += 1
        try:
            last = None
            while True:
                is_last = self._service.draining
                if (status := self._status(request.service)) != last:
                    yield health_pb2.HealthCheckResponse(status=status)
                if is_last:
                    return
                last = status
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._watched -= 1

    def _status(self, name: str) -> int:
        if name == "liveness":
            return int(_SERVING)
        if name not in self._ready:
            return int(_UNKNOWN)
        return int(_SERVING if self._service.ready else _NOT_SERVING)


def add_services(server: Any, service: Service, services: Collection[str]) -> None:
    """Adds the service to a gRPC server that offers others."""
    health_pb2_grpc.add_HealthServicer_to_server(Health(service, services), server)
