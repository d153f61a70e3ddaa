"""The server: HTTP and gRPC on one event loop, over one repository."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import uvicorn
import uvloop

from serving.app import create_app
from serving.config import ServeConfig
from serving.connections import allow_connections, patient
from serving.engines import set_threads
from serving.garbage import tidy
from serving.repository import Repository
from serving.service import Service
from trainers.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens."""

    host: str
    port: int
    grpc_port: int


class _Http(uvicorn.Server):
    """Leaves signals alone: uvicorn's raises them again when it has ended, and the
    process would not end by itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """One server process.

    Args:
      config: see `ServeConfig`.

    Raises:
      ConfigError: a port is taken.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        threads = config.threads or os.cpu_count() or 1
        set_threads(threads)
        self.repository = Repository(config, threads, event=tidy)
        self.service = Service(self.repository, config.limits)
        self._socket = _listen(config.host, config.port)
        self._http = _Http(
            uvicorn.Config(
                create_app(self.service),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=int(config.drain_seconds),
                lifespan="off",
                http=patient(config.limits.header_seconds),
                ws="none",
            )
        )

    def run(self, listening: Callable[[Address], None] = lambda address: None) -> None:
        """Serves until SIGTERM or SIGINT, then finishes what it has.

        Args:
          listening: told where, once it does.
        """
        allow_connections()
        self.repository.start()
        try:
            uvloop.run(self._serve(listening))
        finally:
            self.repository.close()

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        self._http.should_exit = True

    async def _serve(self, listening: Callable[[Address], None]) -> None:
        limit = self.config.limits.body_bytes
        # Imported here: these load TensorFlow's protos and Triton's.
        from serving.protocols import tfs_grpc, v2_grpc
        from serving.protocols.rpc import Refusing

        rpc = grpc.aio.server(
            interceptors=[Refusing()],
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", self.config.limits.concurrency),
            ],
        )
        tfs_grpc.add_services(rpc, self.service)
        v2_grpc.add_services(rpc, self.service)
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        try:
            grpc_port = rpc.add_insecure_port(f"{host}:{self.config.grpc_port}")
        except RuntimeError:
            raise ConfigError(
                f"Cannot listen on {host}:{self.config.grpc_port}: Address already in use. "
                "Choose another with --grpc-port."
            ) from None
        await rpc.start()
        listening(Address(self.config.host, self._socket.getsockname()[1], grpc_port))
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(
                    number, self._http.handle_exit, number, None
                )
        try:
            await self._http.serve(sockets=[self._socket])
        finally:
            await rpc.stop(self.config.drain_seconds)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as e:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {e.strerror}. Choose another with --port."
        ) from None
    listening.set_inheritable(True)
    return listening
