"""What one request does to everybody else: the slowest `/healthz`, and a small model's median.

While each kind of body is sent again and again by a few clients, a probe asks `/healthz`,
and another client asks the first model for one small image at a time.  The server runs in
a process of its own on the same CPUs; `--code` names another checkout to compare with.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

_HEAD = """\
| body | size | status | its seconds | `/healthz` max ms | other model p50 ms | RSS |
|---|---|---|---|---|---|---|"""

Body = tuple[str, bytes, dict[str, str]]
"""Path, body, headers."""


def run(options: argparse.Namespace) -> None:
    names = sorted(d.name for d in options.serving.iterdir() if d.is_dir())
    victim, other = names[0], names[-1]
    card = json.loads(next(options.serving.glob(f"{victim}/*/model.json")).read_text())
    small = _file(Image.new("RGB", tuple(card["image_size"])), "PNG")
    command = [sys.executable, "-m", "pipeline.cli.main", "serve", str(options.serving.resolve())]
    process = subprocess.Popen(
        [*command, "--port", "0", "--grpc-port", "0"],
        cwd=options.code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(options.code.resolve())},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+:\d+)", "".join(process.stdout.readline() for _ in "ab"))
        assert found is not None, "it did not start"
        address = found[1]
        while _post(address, f"/predict?model={other}", small, {})[0] != 200:
            time.sleep(0.2)
        print(_HEAD)
        for kind, body in _bodies(other, card["image_size"]).items():
            if kind in options.only or not options.only:
                print(_measured(kind, body, address, victim, small, process.pid, options))
    finally:
        process.terminate()
        process.wait(60)


def _measured(
    kind: str,
    body: Body | None,
    address: str,
    victim: str,
    small: bytes,
    pid: int,
    options: argparse.Namespace,
) -> str:
    over = threading.Event()
    probes: list[float] = []
    answers: list[float] = []
    peak = [0]

    def again(function: Callable[[], None]) -> threading.Thread:
        def loop() -> None:
            while not over.is_set():
                function()
                over.wait(0.01)

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    def probe() -> None:
        probes.append(_post(address, "/healthz", None, {})[1])
        status = Path(f"/proc/{pid}/status").read_text()
        peak[0] = max(peak[0], int(status.partition("VmRSS:")[2].split()[0]) // 1024)

    def ask() -> None:
        answers.append(_post(address, f"/predict?model={victim}", small, {})[1])

    # In processes of their own: what the probe waits for is the server.
    with ProcessPoolExecutor(options.clients, mp_context=get_context("spawn")) as senders:
        list(senders.map(abs, range(4 * options.clients)))  # started
        until = time.time() + options.seconds
        threads = [again(probe), again(ask)]
        clients = [
            senders.submit(_send, address, body, until) for _ in range(options.clients) if body
        ]
        time.sleep(options.seconds)
        sent = [one for client in clients for one in client.result()]
        over.set()
        for thread in threads:
            thread.join()
    codes = " ".join(sorted({str(code) for code, _ in sent}))
    took = f"{statistics.median(s for _, s in sent):.2f}" if sent else ""
    size = f"{len(body[1]) / 1000:,.0f} kB" if body else ""
    return (
        f"| {kind} | {size} | {codes} | {took} | {max(probes) * 1000:.0f} | "
        f"{statistics.median(answers) * 1000:.1f} | {peak[0]} MiB |"
    )


def _send(address: str, body: Body, until: float) -> list[tuple[int, float]]:
    """Statuses and seconds of the requests up to a moment of `time.time`."""
    sent = []
    while time.time() < until:
        sent.append(_post(address, *body))
    return sent


def _bodies(model: str, image_size: list[int]) -> dict[str, Body | None]:
    predict, infer = f"/v1/models/{model}:predict", f"/v2/models/{model}/infer"
    image = f"/predict?model={model}"
    packed = {"content-encoding": "gzip"}
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (256, *image_size, 3)).tolist()
    # Real photographs are smooth, as this is.
    photograph = Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).resize((6000, 4000))
    base64_of = base64.b64encode(_file(photograph.resize((3000, 2000)), "PNG")).decode()
    form = b'--a\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n%b\r\n--a--\r\n'
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *image_size, 3]}
    raw = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 30_000_000}}]})
    return {
        "nothing": None,
        "ten million empty lists": (
            predict, gzip.compress(b'{"instances": [' + b"[]," * 10_000_000 + b"[]]}"), packed
        ),
        "256 images as numbers": (predict, json.dumps({"instances": pixels}).encode(), {}),
        "256 images as numbers, V2": (
            infer,
            json.dumps(
                {"inputs": [{**tensor, "shape": [256, *image_size, 3], "data": pixels}]}
            ).encode(),
            {},
        ),
        "30 MB of numbers": (
            predict, b'{"instances": [' + b"[0,0,0]," * 3_700_000 + b"[0]]}", {}
        ),
        "deep lists": (predict, b"[" * 30_000_000, {}),
        "deep lists in windows": (
            predict, b'{"a": [' + (b"[" * 900 + b"]" * 900 + b",") * 15_000, {}
        ),
        "a long number": (predict, b'{"a": ' + b"1" * 30_000_000 + b"}", {}),
        "long numbers": (predict, b'{"a": [' + b",".join([b"1" * 4000] * 7500) + b"]}", {}),
        "a long string": (predict, b'{"a": "' + b"x" * 30_000_000 + b'"}', {}),
        "escapes": (predict, b'{"a": "' + b"\\n" * 15_000_000 + b'"}', {}),
        "a million keys": (
            predict, b"{" + b",".join(b'"%d":1' % i for i in range(10**6)) + b"}", {}
        ),
        "base64 of an image": (
            predict,
            json.dumps({"instances": [{"b64": base64_of}]}).encode(),
            {},
        ),
        "zeros, packed": (predict, gzip.compress(bytes(2**30)), packed),
        "a form": (
            image,
            form % (b"\r\n--" * 7_000_000),
            {"content-type": "multipart/form-data; boundary=a"},
        ),
        "binary tensor": (
            infer,
            raw.encode() + bytes(30_000_000),
            {"inference-header-content-length": str(len(raw))},
        ),
        "PNG of 49 megapixels": (image, _file(Image.new("RGB", (7000, 7000)), "PNG"), {}),
        "JPEG of 24 megapixels": (image, _file(photograph, "JPEG"), {}),
    }  # fmt: skip


def _post(
    address: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, float]:
    """Status (0: cut off) and seconds."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except OSError:
        status = 0
    finally:
        connection.close()
    return status, time.perf_counter() - began


def _file(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()
