"""Pushes, a broken one and a rollback, while a real server answers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from conftest import Demo
from helpers import ROOT, environment, wait_until

from modelstore.artifact import GOLDEN, PushManifest
from modelstore.retention import prune
from modelstore.rollback import roll_back
from modelstore.versions import list_versions, publish

CLIENTS = 8


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[int]:
    """Runs a server of `folder`; yields its HTTP port."""
    config = log.with_name("serve.toml")
    config.write_text("poll_seconds = 0.1\n[default]\nengine = 'onnx'\n")
    flags = ["--port", "0", "--grpc-port", "0", "--threads", "1", "--max-batch", "8"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving", str(folder), "--config", str(config), *flags],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        address = process.stdout.readline()
        found = re.search(r":(\d+)/", address)
        assert found, log.read_text()[-3000:]
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)


class Client(threading.Thread):
    """Asks again and again over one connection; keeps the versions that answered."""

    def __init__(self, port: int, image: bytes, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.versions: list[int] = []
        self.failures: list[str] = []
        self._port, self._image, self._stop_asking = port, image, stop

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop_asking.is_set():
            try:
                connection.request("POST", "/predict", self._image, {"Content-Type": "image/png"})
                response = connection.getresponse()
                body = response.read()
            except OSError as e:
                self.failures.append(repr(e))
                return
            if response.status != 200:
                self.failures.append(f"{response.status}: {body!r}")
            else:
                self.versions.append(json.loads(body)["version"])


def ask(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    return response.status, json.loads(body) if body.startswith("{") else body


def is_ready(port: int) -> bool:
    try:
        return ask(port, "/readyz")[0] == 200
    except ConnectionRefusedError:
        return False


def push_copy(folder: Path, source: Path) -> int:
    old = PushManifest.read(folder / "1")

    def manifest(version: int) -> PushManifest:
        return dataclasses.replace(old, version=version, model_uri=f"/models/{version}")

    return publish(source, folder, manifest).version


def test_no_request_fails_whatever_is_pushed(demo: Demo, tmp_path: Path) -> None:
    root = tmp_path / "serving"
    shutil.copytree(demo.serving / "digits-keras" / "1", root / "digits" / "1")
    folder = root / "digits"
    stop = threading.Event()
    with serving(root, tmp_path / "log.txt") as port:
        wait_until(lambda: is_ready(port), 120)
        image = demo.kept[0].read_bytes()
        clients = [Client(port, image, stop) for _ in range(CLIENTS)]
        for client in clients:
            client.start()

        def latest() -> set[int]:
            return {client.versions[-1] for client in clients if client.versions}

        def status(version: int) -> Any:
            found = ask(port, "/v1/models/digits")[1]["model_version_status"]
            return next((s for s in found if s["version"] == str(version)), None)

        wait_until(lambda: latest() == {1}, 60)
        assert push_copy(folder, folder / "1") == 2
        wait_until(lambda: latest() == {2}, 60)
        wait_until(lambda: status(1) is None, 60)

        # A broken one: whole, and of other weights than its golden outputs are of.
        wrong = tmp_path / "wrong"
        shutil.copytree(folder / "2", wrong)
        with np.load(wrong / GOLDEN) as golden:
            arrays = dict(golden)
        np.savez(wrong / GOLDEN, **{**arrays, "scores_NC": arrays["scores_NC"][:, ::-1]})
        assert push_copy(folder, wrong) == 3
        wait_until(lambda: (status(3) or {}).get("state") == "END", 60)
        assert "differs from the trained model" in status(3)["status"]["error_message"]
        answered = len(clients[0].versions)
        wait_until(lambda: len(clients[0].versions) > answered + 5, 60)
        assert latest() == {2} and is_ready(port)

        # Retention by another process' locks: version 2 is being served.
        assert prune(folder, 1).spared == {2: "in use"}
        assert list_versions(folder) == [2, 3]
        assert roll_back(folder, 2).manifest.version == 4
        wait_until(lambda: latest() == {4}, 60)
        wait_until(lambda: status(2) is None, 60)
        assert prune(folder, 1).removed == (2, 3)
        time.sleep(0.3)  # and answers without them
        stop.set()
        for client in clients:
            client.join()
    assert [failure for client in clients for failure in client.failures] == []
    for client in clients:
        changes = [v for i, v in enumerate(client.versions) if client.versions[i - 1 : i] != [v]]
        assert changes == [1, 2, 4]
    assert sum(len(client.versions) for client in clients) > 100
