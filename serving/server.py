"""The server: HTTP and gRPC on one event loop, over one repository."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import grpc
import uvicorn
import uvloop

from common.process.cpus import available_cpus
from serving.app import create_app
from serving.auth import Token
from serving.config import ServeConfig
from serving.connections import TlsServer, allow_connections, patient
from serving.control import Control
from serving.logs.access import Access
from serving.logs.log import Log, messages_into
from serving.logs.record import current
from serving.logs.request_log import RequestLog
from serving.memory import keep_little, tidy
from serving.models.engines import set_threads
from serving.models.repository import Repository
from serving.ports import BACKLOG, Ports, cannot_listen, take_ports
from serving.service import Service
from serving.tls import Tls


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens."""

    host: str
    port: int
    grpc_port: int


class _Http(TlsServer):
    """Leaves signals alone.

    uvicorn's raises them again when it has ended, and the process would not end by itself.
    """

    also: Callable[[], Awaitable[None]]
    """Ended at the same time."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.gather(super().shutdown(sockets), self.also())


class Server:
    """One server process.

    Args:
      token: what requests have to bring; see `serving.auth.read_tokens`.
      tls: as read from `config.tls`; see `serving.tls.read_tls`.
      control_token: what requests that load and unload have to bring.
      ports: those of the config, where they are taken already.

    Raises:
      ConfigError: a port is taken, or a log cannot be written.
    """

    def __init__(
        self,
        config: ServeConfig,
        token: Token | None = None,
        tls: Tls | None = None,
        control_token: Token | None = None,
        ports: Ports | None = None,
    ) -> None:
        self.config = config
        self._tls = tls
        self._ports = ports or take_ports(config)
        keep_little()
        threads = config.threads or available_cpus()
        set_threads(threads)
        self.log = Log(config.log)
        access = Access(self.log, config.log.access)

        def event(kind: str, model: str, version: int, detail: str) -> None:
            access.event(kind, model, version, detail)
            tidy(kind)

        self.repository = Repository(config, threads, access.metrics.observer, event)
        self.service = Service(self.repository, config.limits, access)
        self.service.control = Control(
            self.repository, access, open_to_all=config.control, token=control_token
        )
        self._end = 0.0
        """When it has to be over, on `time.monotonic`'s clock; while it drains."""
        self.request_log = log = RequestLog(config.request_log) if config.request_log else None
        if log is not None:
            self.service.answered = log
            access.metrics.request_log = lambda: asdict(log.counts)
        app = create_app(self.service, token, config.cors_origins)
        self._tokens = app.state.tokens
        self._http = _Http(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                # It takes fractions as well.
                timeout_graceful_shutdown=config.drain_seconds,  # type: ignore[arg-type]
                lifespan="off",
                http=patient(config.limits.header_seconds),
                ws="none",
                backlog=BACKLOG,
                ssl_context_factory=(lambda *_: tls.context) if tls else None,
            )
        )
        self._http.handshake_seconds = config.limits.header_seconds

    def run(self, listening: Callable[[Address], None] = lambda address: None) -> None:
        """Serves until SIGTERM, SIGINT or SIGHUP, then finishes what it has.

        A second one ends the process at once.

        Args:
          listening: told where, once it does.
        """
        allow_connections()
        with messages_into(self.log, lambda: current().request_id):
            self.repository.start()
            try:
                uvloop.run(self._serve(listening))
            finally:
                self.repository.close(max(self._end - time.monotonic(), 0.0))
                if self.request_log is not None:
                    self.request_log.close(max(self._end - time.monotonic(), 1.0))
                self.log.close()

    def stop(self) -> None:
        """Ends `run`, from any thread: it is not ready from now on, and takes nothing new."""
        seconds = self.config.drain_seconds
        self._end = time.monotonic() + seconds
        self.service.draining = True
        self._http.should_exit = True
        self.log.write(
            {"kind": "ending", "detail": f"Requests have {seconds:g} seconds to be answered."}
        )

    def _signalled(self, number: int) -> None:
        if self.service.draining:
            self.log.close(1.0)
            os._exit(128 + number)
        self.stop()

    async def _serve(self, listening: Callable[[Address], None]) -> None:
        limits = self.config.limits
        # Imported here: these load TensorFlow's protos and Triton's.
        from serving.protocols import health_grpc, reflection_grpc, tfs_grpc, v2_grpc
        from serving.protocols.bearer import BearerRpc
        from serving.protocols.recording import RecordedRpc
        from serving.protocols.rpc import Refusing

        asking = [BearerRpc(self._tokens)] if self._tokens else []
        rpc = grpc.aio.server(
            interceptors=[RecordedRpc(self.service.access), *asking, Refusing(self.service)],
            options=[
                ("grpc.max_receive_message_length", limits.body_bytes),
                ("grpc.max_send_message_length", limits.body_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.server_handshake_timeout_ms", int(limits.header_seconds * 1000)),
                ("grpc.max_concurrent_streams", limits.concurrency),
            ],
        )
        tfs_grpc.add_services(rpc, self.service)
        v2_grpc.add_services(rpc, self.service)
        services = (*tfs_grpc.SERVICES, *v2_grpc.SERVICES)
        health_grpc.add_services(rpc, self.service, services)
        offered = (*services, "grpc.health.v1.Health")
        reflection_grpc.add_services(rpc, offered, limits.header_seconds)
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._ports.release_grpc()
        try:
            at = f"{host}:{self.config.grpc_port}"
            if self._tls is None:
                grpc_port = rpc.add_insecure_port(at)
            else:
                grpc_port = rpc.add_secure_port(at, self._tls.credentials())
        except RuntimeError:
            why = "Address already in use"
            raise cannot_listen(host, self.config.grpc_port, why, "--grpc-port") from None
        await rpc.start()
        self._http.also = lambda: rpc.stop(self.config.drain_seconds)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_IGN:  # under nohup
                    continue
                asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        listening(Address(self.config.host, self._ports.http_port, grpc_port))
        try:
            await self._http.serve(sockets=[self._ports.http])
        finally:
            await rpc.stop(None)
            self.repository.stop()
