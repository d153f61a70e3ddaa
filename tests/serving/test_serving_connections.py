"""Clients that are slow, many, or gone, on a server of small limits; and what its process holds."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from helpers import python, wait_until
from serving_server import serve

MODEL = "digits-keras"
CONFIG = """
[limits]
header_seconds = 1.0
concurrency = 8
body_bytes = 1048576
server_body_bytes = 33554432
"""


@pytest.fixture(scope="module")
def strict(demo, tmp_path_factory):
    """A server that gives its clients one second."""
    root = tmp_path_factory.mktemp("strict")
    shutil.copytree(demo.serving / MODEL, root / "serving" / MODEL)
    (root / "serve.toml").write_text(CONFIG)
    with serve(root / "serving", root / "log.txt", "--config", str(root / "serve.toml")) as running:
        yield running
    assert "Traceback" not in (root / "log.txt").read_text()


@pytest.fixture(scope="module")
def image(demo):
    return demo.kept[0].read_bytes()


def connect(running):
    host, port = running.host.split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answers(running, image):
    found = httpx.post(f"{running.url}/predict", content=image, timeout=20)
    assert found.status_code == 200, found.text
    return True


def head(length, *headers):
    lines = ["POST /predict HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def seconds_until_closed(connection, trickle=b"", since=None):
    """And what was received; bytes are sent now and then until then."""
    began = since or time.monotonic()
    received = b""
    connection.settimeout(0.1)
    while time.monotonic() - began < 15:
        try:
            if trickle:
                connection.sendall(trickle)
            got = connection.recv(65536)
            received += got
            if not got:
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began, received


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n", b""),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n"),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\nLong: ", b"x"),
    ],
    ids=["silent", "half a head", "a head that never ends", "a header that never ends"],
)
def test_a_head_that_does_not_come_is_not_waited_for(strict, image, sent, trickle):
    began = time.monotonic()
    with connect(strict) as connection:
        connection.sendall(sent)
        seconds, received = seconds_until_closed(connection, trickle, began)
        assert 0.8 < seconds < 15
        assert received == b""
    assert answers(strict, image)


def test_a_second_request_has_the_same_time(strict):
    began = time.monotonic()
    with connect(strict) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n")
        seconds, received = seconds_until_closed(connection, b"A: b\r\n", began)
        assert 0.8 < seconds < 15
        assert received.count(b"200 OK") == 1


def test_a_head_of_many_bytes_is_refused_at_once(strict):
    """Sooner than a head that does not end; on a busy machine that shows in some try."""

    def is_refused_at_once():
        seconds, received = send_a_long_head(strict)
        assert b"200 OK" not in received
        return seconds < 0.8

    assert any(is_refused_at_once() for _ in range(10))


LONG = b"A: " + b"x" * 70_000 + b"\r\n"
LONG_HEADS = {
    "one header": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + LONG + b"\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 12_000 + b"\r\n",
    "the address": b"GET /healthz?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "after a body": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\nx\r\n0\r\n" + LONG + b"\r\n",
    "of a chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1;" + b"x" * 1_000_000,
}


@pytest.mark.parametrize("kind", LONG_HEADS)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_is_refused_however_it_comes(strict, kind, at_once):
    """Also where the kernel hands it over in one piece, whole."""
    head = LONG_HEADS[kind]
    with connect(strict) as connection:
        try:
            for at in range(0, len(head), len(head) if at_once else 9000):
                connection.sendall(head[at:] if at_once else head[at : at + 9000])
        except OSError:
            pass
        _, received = seconds_until_closed(connection)
    assert b"200 OK" not in received
    assert not received or b"65536 bytes" in received


def test_a_head_of_nearly_as_many_bytes_and_one_after_a_large_body_are_taken(strict, image):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 65_000 + b"\r\n\r\n"
    with connect(strict) as connection:
        connection.sendall(head * 2)
        received = b""
        while received.count(b"200 OK") < 2:
            received += (got := connection.recv(65536))
            assert got, received
    body = image + bytes(900_000)
    post = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with connect(strict) as connection:
        connection.sendall(post + body + head)
        received = b""
        while received.count(b"200 OK") < 2:
            received += (got := connection.recv(65536))
            assert got, received


def send_a_long_head(running):
    with connect(running) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(100):
                connection.sendall(b"A: " + b"x" * 10_000 + b"\r\n")
        except OSError:
            pass
        return seconds_until_closed(connection)


def test_a_body_that_trickles_is_told_and_cut_off(strict, image):
    began = time.monotonic()
    with connect(strict) as connection:
        connection.sendall(head(1000))
        seconds, received = seconds_until_closed(connection, b"x", began)
        assert 0.8 < seconds < 15
        assert b"408 Request Timeout" in received
        assert b"was not there after 1 seconds" in received
    assert answers(strict, image)


def test_slow_clients_do_not_keep_others_waiting(strict, image):
    """Who waits for them waits a second; on a busy machine some try shows that nobody does."""

    def answers_at_once():
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(connect(strict)).sendall(head(1000) + b"x")
            began = time.monotonic()
            assert answers(strict, image)
            return time.monotonic() - began < 1

    assert any(answers_at_once() for _ in range(10))


def test_many_idle_connections_do_not_keep_others_out(strict, image):
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(strict)) for _ in range(500)]
        assert answers(strict, image)
        seconds, _ = seconds_until_closed(idle[-1])
        assert seconds < 15
    assert answers(strict, image)


def test_clients_that_go_free_their_places(strict, image):
    """More than may be answered at a time leave, within their body or before the answer."""
    for sent in (head(len(image)) + image[:20], head(len(image)) + image):
        for _ in range(40):
            with connect(strict) as connection:
                connection.sendall(sent)
                # An RST, as from a process that was killed.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))
        # The last of them may still be answered, so that it takes some tries.
        wait_until(lambda: all_at_once(strict, image, 8) == [200] * 8, 10)


def all_at_once(running, image, clients):
    """The status that each of them got."""
    with ThreadPoolExecutor(clients) as pool:
        sent = [
            pool.submit(httpx.post, f"{running.url}/predict", content=image, timeout=20)
            for _ in range(clients)
        ]
        return [future.result().status_code for future in sent]


def test_a_body_that_announces_too_much_is_refused_before_it_comes(strict):
    with connect(strict) as connection:
        connection.sendall(head(2**30, "Expect: 100-continue"))
        seconds, received = seconds_until_closed(connection)
        assert b"413" in received
        assert b"100 Continue" not in received
        assert seconds < 15
    for length in ("-1", "x", "1, 2"):
        with connect(strict) as connection:
            connection.sendall(head(length))
            assert b"HTTP/1.1 400" in seconds_until_closed(connection)[1]


def test_bodies_on_their_way_take_no_more_than_so_much_memory(strict, image):
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(strict)) for _ in range(40)]
        for connection in connections:
            connection.sendall(head(2**20) + bytes(2**20 - 1))
        wait_until(lambda: any(b"429" in received_by(c) for c in connections), 10)
    assert answers(strict, image)


def received_by(connection):
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def test_more_requests_than_may_be_answered_are_refused_at_once(strict, image):
    """And those that are admitted are answered."""
    together = threading.Barrier(64)
    statuses = []

    def client():
        with httpx.Client(base_url=strict.url, timeout=20) as http:
            together.wait()
            statuses.extend(http.post("/predict", content=image).status_code for _ in range(5))

    threads = [threading.Thread(target=client) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 429}
    assert 200 in statuses
    assert answers(strict, image)


def test_websockets_are_not_spoken(strict):
    with connect(strict) as connection:
        connection.sendall(
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n"
            b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVzdHRlc3R0ZXN0dGVzdA==\r\n\r\n"
        )
        received = seconds_until_closed(connection)[1]
        assert b"101 " not in received


# --- The process


def test_the_log_is_quiet_until_it_serves(strict):
    lines = strict.log.read_text().splitlines()
    assert lines[0].startswith("Loading the models of ")
    assert [line for line in lines if "oneDNN" in line or "cuda" in line.lower()] == []


def test_the_process_maps_no_library_of_a_training_framework(strict):
    maps = Path(f"/proc/{strict.process.pid}/maps").read_text()
    found = set(re.findall(r"/site-packages/(\w+)/", maps))
    assert "tensorflow" in found
    assert "onnxruntime" in found
    assert not found & UNWANTED


def test_a_server_imports_no_more_than_it_needs(demo):
    code = (
        "import sys\n"
        "from serving.cli import start_lean\n"
        "start_lean()\n"
        "import serving.server\n"
        "from serving.protocols import tfs_grpc, v2_grpc\n"
        "from pathlib import Path\n"
        "from serving.config import ModelConfig\n"
        "from serving.models.loaded import LoadedVersion\n"
        "for name in sys.argv[1:]:\n"
        "    LoadedVersion(Path(name), ModelConfig(), 1, max_pixels=10**6)\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )
    versions = sorted(str(p.parent) for p in demo.serving.glob("*/1/model.json"))
    done = python("-c", code, *versions)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cuInit" not in done.stderr
    assert not set(done.stdout.split()) & UNWANTED


UNWANTED = {
    *("torch", "torchvision", "timm", "jax", "jaxlib", "torchax", "keras", "tf_keras"),
    *("tfx", "apache_beam", "ml_metadata", "tensorflow_transform", "tensorflow_model_analysis"),
    *("pandas", "matplotlib", "sklearn", "scipy", "h5py", "pyarrow", "IPython", "onnx"),
}
