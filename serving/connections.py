"""What uvicorn leaves open: how long a client may take, and how much it may send, at first.

The body has its own limits (`protocols.asgi.received`), and uvicorn closes what is idle
after an answer.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES = 64 * 1024
_TOO_LONG = f"Expected headers of at most {HEADER_BYTES} bytes."
_GOODBYE_SECONDS = 2.0
"""For a client to answer that the connection ends, where it speaks TLS."""


def patient(seconds: float) -> type[HttpToolsProtocol]:
    """Makes uvicorn's protocol for clients that send their headers within so many seconds."""

    class Patient(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _unparsed = 0
        """Bytes since the parser last handed something over; it keeps them."""
        _head = 0
        """Bytes of a request's address, headers and trailers, which are kept too."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._start()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._unparsed += len(data)
            super().data_received(data)
            if self._unparsed > HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response(_TOO_LONG)

        def send_400_response(self, msg: str) -> None:
            super().send_400_response(_TOO_LONG if self._head > HEADER_BYTES else msg)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._unparsed = self._head = 0
            self._start()

        def on_url(self, url: bytes) -> None:
            self._take(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._take(len(name) + len(value) + len(b": \r\n"))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._unparsed = 0
            self._stop()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unparsed = 0
            super().on_body(body)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.more_body:  # of a request that was answered before it was all there
                self._start()

        def on_message_complete(self) -> None:
            self._unparsed = 0
            self._stop()
            super().on_message_complete()

        def _take(self, size: int) -> None:
            """Counts what is kept; too much of it ends the parser, before the request begins."""
            self._unparsed = 0
            self._head += size
            if self._head > HEADER_BYTES:
                raise ValueError(_TOO_LONG)

        def _start(self) -> None:
            self._stop()
            self._timer = self.loop.call_later(seconds, self.transport.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Patient


class TlsServer(uvicorn.Server):
    """uvicorn's server, with two differences.

    It takes clients that shake hands within so many seconds; uvicorn waits a minute.  When it
    ends, it lets those that use their connections finish: uvicorn closes them between two
    requests, and loses one that is just on its way.
    """

    handshake_seconds = 10.0

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        last_answer = (b"connection", b"close")
        self.server_state.default_headers = [*self.server_state.default_headers, last_answer]
        # As long as an idle connection is kept at any time.
        seconds = min(self.config.timeout_keep_alive, self.config.timeout_graceful_shutdown or 0)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(map(_goes_on, self.server_state.connections)):
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.config.is_ssl:
            return await super().startup(sockets)
        await self.lifespan.startup()

        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers = [
            await asyncio.get_running_loop().create_server(
                protocol,
                sock=listening,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=self.handshake_seconds,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
            for listening in sockets or []
        ]
        self.started = True


def _goes_on(connection: Any) -> bool:
    """Returns whether its client may send another request: nothing said that this is the last."""
    cycle = connection.cycle
    return cycle is None or (cycle.keep_alive and cycle.response_started)


def allow_connections() -> None:
    """Allows as many open files as this process may have: every connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
