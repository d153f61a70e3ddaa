"""The server: HTTP and gRPC on one event loop, over one repository."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

import uvicorn

from serving.app import create_app
from serving.config import ServeConfig
from serving.engines import set_threads
from serving.repository import Repository
from serving.service import Service
from trainers.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens."""

    host: str
    port: int
    grpc_port: int


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
        self.repository = Repository(config, threads)
        self.service = Service(self.repository, config.limits)
        self._socket = _listen(config.host, config.port)
        self._http = uvicorn.Server(
            uvicorn.Config(
                create_app(self.service),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=int(config.drain_seconds),
                lifespan="off",
            )
        )

    @property
    def address(self) -> Address:
        return Address(self.config.host, self._socket.getsockname()[1], 0)

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then finishes what it has."""
        self.repository.start()
        try:
            asyncio.run(self._http.serve(sockets=[self._socket]))
        finally:
            self.repository.close()


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
