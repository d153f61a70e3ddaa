"""The two ports, taken before anything heavy is imported, so that a taken one is told at once."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from common.errors import ConfigError
from serving.config import ServeConfig

BACKLOG = 2048
"""Connections that wait to be taken up."""


@dataclass(slots=True)
class Ports:
    """Sockets that listen; HTTP's is served, gRPC's held until gRPC takes its place."""

    http: socket.socket
    grpc: socket.socket | None
    """None: gRPC takes a free one."""

    @property
    def http_port(self) -> int:
        return int(self.http.getsockname()[1])

    def release_grpc(self) -> None:
        """Closes gRPC's: it takes no socket, so it has to open its own in the same moment."""
        if self.grpc is not None:
            self.grpc.close()
            self.grpc = None

    def close(self) -> None:
        self.release_grpc()
        self.http.close()


def take_ports(config: ServeConfig) -> Ports:
    """Listens on both ports.

    Raises:
      ConfigError: one cannot be had; says which, and which flag names another.
    """
    http = _listen(config.host, config.port, "--port", BACKLOG)
    try:
        grpc = _listen(config.host, config.grpc_port, "--grpc-port", 1)
    except ConfigError:
        http.close()
        raise
    if config.grpc_port == 0:
        grpc.close()
    http.set_inheritable(True)
    return Ports(http, grpc if config.grpc_port else None)


def cannot_listen(host: str, port: int, why: str, flag: str) -> ConfigError:
    what = "gRPC" if flag == "--grpc-port" else "HTTP"
    return ConfigError(f"Cannot listen on {host}:{port} for {what}: {why}. Choose another: {flag}.")


def _listen(host: str, port: int, flag: str, backlog: int) -> socket.socket:
    shown = f"[{host}]" if ":" in host else host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as e:
        why = getattr(e, "strerror", None) or "no name of a host"
        raise cannot_listen(shown, port, why, "--host") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        # At once, and not when it is served: until then nobody else may take it, and who
        # connects waits instead of being refused.
        listening.listen(backlog)
    except OSError as e:
        listening.close()
        if e.errno == errno.EADDRNOTAVAIL:
            raise cannot_listen(shown, port, "this machine has no such address", "--host") from None
        why = e.strerror or str(e)
        if e.errno == errno.EACCES:
            why += ", ports below 1024 are for root"
        raise cannot_listen(shown, port, why, flag) from None
    return listening
