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
from dataclasses import dataclass

import grpc
import uvicorn
import uvloop

from serving.access import Access, current
from serving.app import create_app
from serving.auth import Token
from serving.config import ServeConfig
from serving.connections import TlsServer, allow_connections, patient
from serving.engines import set_threads
from serving.garbage import tidy
from serving.log import Log, messages_into
from serving.repository import Repository
from serving.request_log import RequestLog
from serving.service import Service
from serving.tls import Tls
from trainers.errors import ConfigError

_BACKLOG = 2048
"""Connections that wait to be taken up."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens."""

    host: str
    port: int
    grpc_port: int


class _Http(TlsServer):
    """Leaves signals alone: uvicorn's raises them again when it has ended, and the
    process would not end by itself."""

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
      config: see `ServeConfig`.
      token: what requests have to bring; see `serving.auth.read_token`.
      tls: as read from `config.tls`; see `serving.tls.read_tls`.

    Raises:
      ConfigError: a port is taken, or a log cannot be written.
    """

    def __init__(
        self, config: ServeConfig, token: Token | None = None, tls: Tls | None = None
    ) -> None:
        self.config = config
        self._token, self._tls = token, tls
        threads = config.threads or os.cpu_count() or 1
        set_threads(threads)
        self.log = Log(config.log)
        access = Access(self.log, config.log.access)

        def event(kind: str, model: str, version: int, detail: str) -> None:
            access.event(kind, model, version, detail)
            tidy(kind, model, version, detail)

        self.repository = Repository(config, threads, access.metrics.observer, event)
        self.service = Service(self.repository, config.limits, access)
        self._end = 0.0
        """When it has to be over, on `time.monotonic`'s clock; while it drains."""
        self._socket = _listen(config.host, config.port)
        self.request_log = RequestLog(config.request_log) if config.request_log else None
        if self.request_log is not None:
            self.service.answered = self.request_log
            access.metrics.request_log = self.request_log.by_outcome
        self._http = _Http(
            uvicorn.Config(
                create_app(self.service, token),
                log_config=None,
                log_level="warning",
                access_log=False,
                # It takes fractions as well.
                timeout_graceful_shutdown=config.drain_seconds,  # type: ignore[arg-type]
                lifespan="off",
                http=patient(config.limits.header_seconds),
                ws="none",
                backlog=_BACKLOG,
                ssl_context_factory=(lambda *_: tls.context) if tls else None,
            )
        )
        self._http.handshake_seconds = config.limits.header_seconds

    def run(self, listening: Callable[[Address], None] = lambda address: None) -> None:
        """Serves until SIGTERM or SIGINT, then finishes what it has; a second one ends the
        process at once.

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
        limit = self.config.limits.body_bytes
        # Imported here: these load TensorFlow's protos and Triton's.
        from serving.protocols import tfs_grpc, v2_grpc
        from serving.protocols.bearer import BearerRpc
        from serving.protocols.recording import RecordedRpc
        from serving.protocols.rpc import Refusing

        asking = [BearerRpc(self._token)] if self._token else []
        rpc = grpc.aio.server(
            interceptors=[RecordedRpc(self.service.access), *asking, Refusing()],
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),
                (
                    "grpc.server_handshake_timeout_ms",
                    int(self.config.limits.header_seconds * 1000),
                ),
                ("grpc.max_concurrent_streams", self.config.limits.concurrency),
            ],
        )
        tfs_grpc.add_services(rpc, self.service)
        v2_grpc.add_services(rpc, self.service)
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        try:
            at = f"{host}:{self.config.grpc_port}"
            if self._tls is None:
                grpc_port = rpc.add_insecure_port(at)
            else:
                grpc_port = rpc.add_secure_port(at, self._tls.credentials())
        except RuntimeError:
            raise ConfigError(
                f"Cannot listen on {host}:{self.config.grpc_port}: Address already in use. "
                "Choose another with --grpc-port."
            ) from None
        await rpc.start()
        self._http.also = lambda: rpc.stop(self.config.drain_seconds)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        listening(Address(self.config.host, self._socket.getsockname()[1], grpc_port))
        try:
            await self._http.serve(sockets=[self._socket])
        finally:
            await rpc.stop(None)
            self.repository.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # At once, and not when uvicorn begins: who is told the address may connect.
        listening.listen(_BACKLOG)
    except OSError as e:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {e.strerror}. Choose another with --port."
        ) from None
    listening.set_inheritable(True)
    return listening
