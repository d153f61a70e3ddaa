"""The process behind `visionline ui`."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

import uvicorn

from common.errors import ConfigError, RunError
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from pipeline.ui.app import make_app

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def serve(connection: Connection, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C (KeyboardInterrupt).

    Args:
      port: 0 takes a free one.
      announce: is told the address, once it answers there.

    Raises:
      StoreError: the store cannot be read.
      RunError: the port is in use, or not ours to take.
      ConfigError: there is no such host or port.
    """
    open_reader(connection).close()  # what is wrong with it is said here, and not in a browser
    listening = _listen(host, port)
    with listening:
        config = uvicorn.Config(
            make_app(connection, _hosts(host)),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        announce(f"http://{_shown(host)}:{listening.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except socket.gaierror:
        raise ConfigError(f"--host: {host!r} is not a name or address of this machine.") from None
    except OverflowError:
        raise ConfigError(f"--port: expected 0 to 65535, got {port}.") from None
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise RunError(
                f"Port {port} of {host} is in use. Choose another with --port, "
                "or leave it out for a free one."
            ) from None
        if e.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"--host: {host!r} is not an address of this machine.") from None
        raise RunError(f"Cannot listen on port {port} of {host}: {e.strerror}.") from None


def _hosts(host: str) -> tuple[str, ...]:
    """Names under which the page may be asked for."""
    if is_loopback(host):
        return (*_LOCAL_NAMES, _shown(host))
    # Other machines may call this one by any name.
    return ("*",)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
