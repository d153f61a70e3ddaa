"""The client: a closed loop over so many connections, in a process of its own.

    PYTHONPATH=. python -m benchmarks.serving.load 127.0.0.1:8501 --protocol v1 \
        --model NAME --images FOLDER --concurrency 16

Every connection sends its next request when it has the answer to the last.  Prints one
line of JSON, also when SIGTERM ends it.  HTTP is spoken by hand over uvloop, since
client libraries cost more than the servers; gRPC through grpcio, one channel per
connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.serving.wire import BAD, GRPC, Wire, scores, wire

_IMAGES = 64
_TOLERANCE = 1e-4
"""Of a score, between two versions with the same weights and two sizes of batch."""


@dataclass(slots=True)
class Log:
    """What came back."""

    began: array[float] = field(default_factory=lambda: array("d"))
    """On the machine's monotonic clock."""
    seconds: array[float] = field(default_factory=lambda: array("d"))
    failures: list[str] = field(default_factory=list)
    wrong: int = 0
    """Answers with other scores than the first to the same image had."""
    answers: dict[Wire, list[float]] | None = None
    """The first to each; None: they are not looked at."""

    def check(self, wire: Wire, body: bytes) -> None:
        if self.answers is not None:
            found = scores(wire, body)
            first = self.answers.setdefault(wire, found)
            near = (abs(a - b) <= _TOLERANCE for a, b in zip(first, found, strict=False))
            self.wrong += not found or len(found) != len(first) or not all(near)

    def add(self, began: float, failure: str | None) -> None:
        if failure:
            self.failures.append(failure)
            return
        self.began.append(began)
        self.seconds.append(time.monotonic() - began)


@dataclass(slots=True)
class Until:
    """When clients stop."""

    at: float
    """On the machine's monotonic clock."""

    @property
    def is_past(self) -> bool:
        return time.monotonic() >= self.at

    def now(self) -> None:
        self.at = time.monotonic()


class Connection(asyncio.Protocol):
    """HTTP/1.1 kept alive: one request at a time, answers of a stated length."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._data = b""
        self._length = -1

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, message: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """The status and the body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._data, self._length = b"", -1
        self._transport.write(message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._length < 0:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._length = end + 4 + _content_length(self._data[:end])
        if len(self._data) >= self._length and self._answer and not self._answer.done():
            head, _, body = self._data.partition(b"\r\n\r\n")
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the server hung up: {exc}"))

    def close(self) -> None:
        self._transport.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise ConnectionError("Expected an answer with a Content-Length.")


async def http(address: str, wires: list[Wire], first: int, until: Until, log: Log) -> None:
    """One HTTP client, until the clock says so."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, host, int(port))
    number = first
    while not until.is_past:
        began = time.monotonic()
        try:
            wire = wires[number % len(wires)]
            status, body = await connection.ask(wire.message)
            failure = None if status == 200 else f"{status}: {body[:200]!r}"
            if not failure:
                log.check(wire, body)
        except ConnectionError as e:
            failure = str(e)
            _, connection = await loop.create_connection(Connection, host, int(port))
        log.add(began, failure)
        number += 1
    connection.close()


async def grpc_client(address: str, wires: list[Wire], first: int, until: Until, log: Log) -> None:
    """One gRPC client with a connection of its own."""
    import grpc

    # Otherwise channels to one address share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(wires[0].target)
        number = first
        while not until.is_past:
            began = time.monotonic()
            try:
                wire = wires[number % len(wires)]
                log.check(wire, await call(wire.message))
                failure = None
            except grpc.aio.AioRpcError as e:
                failure = f"{e.code().name}: {e.details()}"
            log.add(began, failure)
            number += 1


async def refused(address: str, wires: list[Wire], first: int, until: Until, log: Log) -> None:
    """One HTTP client whose requests must be refused, ten a second."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, host, int(port))
    number = first
    while not until.is_past:
        began = time.monotonic()
        status, body = await connection.ask(wires[number % len(wires)].message)
        log.add(began, None if 400 <= status < 500 else f"{status}: {body[:200]!r}")
        number += 1
        await asyncio.sleep(0.1)
    connection.close()


async def run(
    address: str,
    wires: list[Wire],
    concurrency: int,
    until: Until,
    *,
    bad: bool = False,
    check: bool = False,
) -> Log:
    """`concurrency` clients until then; each starts with another of the requests."""
    log = Log(answers={} if check else None)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.now)
    client = refused if bad else grpc_client if wires[0].kind == GRPC else http
    await asyncio.gather(*(client(address, wires, i, until, log) for i in range(concurrency)))
    return log


def main() -> None:
    options = _options()
    files = sorted(options.images.glob("**/*.jp*g"))[:_IMAGES]
    if not files:
        raise SystemExit(f"Expected JPEGs in {options.images}, found none.")
    images = [f.read_bytes() for f in files]
    protocols = BAD if options.protocol == "bad" else (options.protocol,)
    wires = [wire(p, options.model, i) for i in images for p in protocols]
    start = time.monotonic() + options.warm_up
    until = Until(start + options.seconds)
    before = os.times()
    bad = options.protocol == "bad"
    log = uvloop.run(
        run(options.address, wires, options.concurrency, until, bad=bad, check=options.check)
    )
    end = until.at
    after = os.times()
    timed = [
        (began, seconds)
        for began, seconds in zip(log.began, log.seconds, strict=True)
        if began >= start
    ]
    if options.times:
        options.times.write_text(json.dumps(timed))
    found = {
        "seconds": end - start,
        # Those that were under way at the end count by their part of them.
        "requests": sum(min(1.0, (end - b) / max(s, 1e-9)) for b, s in timed),
        "latencies": [round(s, 7) for _, s in timed],
        "failed": len(log.failures),
        "failures": log.failures[:5],
        "wrong": log.wrong,
        "cpu": (after.user + after.system - before.user - before.system)
        / (options.warm_up + end - start),
    }
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A closed loop of requests.")
    parser.add_argument("address", help="host:port")
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--check", action="store_true", help="compare all answers to an image")
    parser.add_argument("--times", type=Path, help="where to write when each began, and its time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
