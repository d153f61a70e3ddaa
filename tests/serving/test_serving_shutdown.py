"""A server that is asked to end: what it has is answered, and it takes nothing new."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
from helpers import ROOT, environment, wait_until
from repository_fakes import Folder
from serving_server import serve
from starlette.testclient import TestClient
from tritonclient.grpc import service_pb2, service_pb2_grpc

from common.config.strict import parse
from pipeline.deploy.config import DeployConfig
from pipeline.deploy.model import Model
from pipeline.deploy.render import render
from serving.app import create_app
from serving.config import LimitsConfig
from serving.service import Service

MODEL = "digits-keras"
CONFIG = """
drain_seconds = {drain}
[log]
file = "{log}"
[limits]
header_seconds = 60.0
[default]
engine = "onnx"
[default.batching]
max_delay_ms = 1000.0
"""
"""Requests wait a second for others, and may take a minute to arrive."""


def configured(root, drain):
    (root / "serve.toml").write_text(CONFIG.format(drain=drain, log=root / "requests.log"))
    return str(root / "serve.toml")


def lines_of(root):
    return [json.loads(line) for line in (root / "requests.log").read_text().splitlines()]


def infer(stub, image, **options):
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="images", datatype="BYTES", shape=[1])
    request.inputs[0].contents.bytes_contents.append(image)
    return stub.ModelInfer(request, **options)


def refused(stub):
    """How gRPC takes a new request: whether it does not."""
    try:
        return not stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=5).ready
    except grpc.RpcError as e:
        return e.code() == grpc.StatusCode.UNAVAILABLE


def closed(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionError:
        return True
    return False


def test_requests_in_flight_are_answered_and_new_ones_refused(demo, samples, tmp_path):
    shutil.copytree(demo.serving / MODEL / "1", tmp_path / "serving" / MODEL / "1")
    sample = samples[MODEL][3]
    flags = ("--threads", "1", "--config", configured(tmp_path, 30))
    with (
        serve(tmp_path / "serving", tmp_path / "stderr", *flags) as running,
        grpc.insecure_channel(running.grpc) as channel,
        httpx.Client(base_url=running.url, timeout=30) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        host, port = running.host.split(":")
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            infer(stub, sample.encoded, timeout=0.3, metadata=[("x-request-id", "late")])
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert not refused(stub) and client.get("/readyz").status_code == 200
        over_rest = [
            threads.submit(
                httpx.post, f"{running.url}{path}", content=sample.encoded, timeout=30,
                headers={"x-request-id": "last"},
            )
            for path in ["/predict"] * 3
        ]  # fmt: skip
        over_grpc = [
            threads.submit(infer, stub, sample.encoded, metadata=[("x-request-id", "last")])
            for _ in range(3)
        ]
        wait_until(
            lambda: all(
                f'requests_in_flight{{protocol="{p}"}} 3.0' in client.get("/metrics").text
                for p in ("file", "v2-grpc")
            ),
            30,
        )
        client.close()
        assert not any(f.done() for f in (*over_rest, *over_grpc)), "they wait for a full batch"

        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: closed(host, int(port)), 5)
        wait_until(lambda: refused(stub), 5)
        with grpc.insecure_channel(running.grpc) as another:
            assert refused(service_pb2_grpc.GRPCInferenceServiceStub(another))
        for future in over_rest:
            answer = future.result(30)
            assert answer.json()["classes"][0]["label"] == sample.digit
        for future in over_grpc:
            assert future.result(30).model_name == MODEL
        assert running.process.wait(20) == 0
        assert time.monotonic() - began < 20, "it does not wait for drain_seconds"
    lines = lines_of(tmp_path)
    kinds = [s["kind"] for s in lines]
    ids = [s.get("request_id") for s in lines]
    assert ids.count("last") == 6 and min(
        i for i, s in enumerate(ids) if s == "last"
    ) > kinds.index("ending")
    assert {s["status"] for s in lines if s.get("request_id") == "last"} == {200, "OK"}
    (late,) = (s["status"] for s in lines if s.get("request_id") == "late")
    assert late in ("DEADLINE_EXCEEDED", "CANCELLED"), "as the clocks of the two sides differ"
    assert kinds[-1] == "unloaded", "the log is complete"
    assert '"kind"' not in (tmp_path / "stderr").read_text(), "all of it is in the file"


@contextmanager
def without_models(root, drain):
    """A server of an empty folder: the process, and the address of HTTP."""
    (root / "serving").mkdir()
    command = [sys.executable, "-m", "serving", str(root / "serving")]
    with (root / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--config", configured(root, drain), "--port", "0", "--grpc-port", "0"],
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        process.stdout.readline()
        found = re.search(r"//(.+):(\d+)/", process.stdout.readline())
        assert found, (root / "stderr").read_text()
        yield process, (found[1], int(found[2]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def never_ending_request(address):
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /predict?model=m HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        )
        url = f"http://{address[0]}:{address[1]}/metrics"
        wait_until(lambda: 'in_flight{protocol="file"} 1.0' in httpx.get(url, timeout=30).text, 30)
        yield


def test_a_second_signal_ends_it_at_once(tmp_path):
    with (
        without_models(tmp_path, drain=60) as (process, address),
        never_ending_request(address),
    ):
        process.terminate()
        wait_until(lambda: closed(*address), 10)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        began = time.monotonic()
        process.terminate()
        assert process.wait(40) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 30
    assert lines_of(tmp_path)[-1]["kind"] == "ending"


def test_a_request_that_does_not_end_is_cut_off_after_drain_seconds(tmp_path):
    with (
        without_models(tmp_path, drain=0.5) as (process, address),
        never_ending_request(address),
    ):
        began = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0
        assert 0.5 <= time.monotonic() - began < 20
    (cut_off,) = (s for s in lines_of(tmp_path) if s.get("path") == "/predict")
    assert cut_off["status"] == 503


def test_it_lives_without_models_and_is_not_ready_while_it_drains(tmp_path):
    folder = Folder(tmp_path)
    service = Service(folder.repository, LimitsConfig())
    client = TestClient(create_app(service))

    def answers():
        return {
            path: client.get(path).status_code
            for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
        }

    folder.push("m", "broken")
    folder.repository.refresh()
    alone = {"/healthz": 200, "/readyz": 503, "/v2/health/live": 200, "/v2/health/ready": 503}
    assert answers() == alone
    folder.push("m")
    folder.repository.refresh()
    assert answers() == dict.fromkeys(alone, 200)
    service.draining = True
    assert answers() == alone
    folder.repository.close()


class Clients:
    """Clients of two servers, over both ports, that go to those which have an address now.

    Half of those over HTTP keep their connections, and use them as long as they can: an
    address that is taken away closes none.
    """

    def __init__(self, image: bytes, *running: Any) -> None:
        self._image = image
        self.addresses = list(running)
        self._running = running
        self.answered: Counter[str] = Counter()
        """By address of HTTP."""
        self.lost: list[str] = []
        self._stop = threading.Event()

    @contextmanager
    def asking(self):
        threads = [
            threading.Thread(target=target)
            for target in (*[self._keeping] * 6, *[self._connecting] * 2, *[self._calling] * 2)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)

    def _each(self, ask):
        while not self._stop.is_set():
            to = self.addresses[0]
            try:
                ask(to)
            except Exception as e:
                self.lost.append(f"{type(e).__name__}: {e}")
            else:
                self.answered[to.url] += 1

    def _connecting(self):
        self._each(lambda to: self._post(httpx, to))

    def _keeping(self):
        with httpx.Client(timeout=60) as client:
            kept = {"to": self.addresses[0]}

            def ask(to):
                answer = self._post(client, kept["to"])
                if answer.headers.get("connection") == "close":
                    kept["to"] = self.addresses[0]

            self._each(ask)

    def _post(self, client, to):
        answer = client.post(f"{to.url}/predict?model={MODEL}", content=self._image, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer

    def _calling(self):
        channels = {running.grpc: grpc.insecure_channel(running.grpc) for running in self._running}
        stubs = {k: service_pb2_grpc.GRPCInferenceServiceStub(c) for k, c in channels.items()}
        self._each(lambda to: infer(stubs[to.grpc], self._image, timeout=60))
        for channel in channels.values():
            channel.close()


def test_a_rollout_drops_no_request(server, demo, samples, tmp_path):
    """As Kubernetes does it: the address goes, preStop waits, SIGTERM; under load."""
    manifest = render(
        parse(DeployConfig, {"storage": "pvc://a", "image": "a:1", "pre_stop_seconds": 2}),
        Model(name=MODEL, version=None, manifest=None),
    )
    spec = manifest["spec"]["predictor"]
    wait = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    shutil.copytree(demo.serving / MODEL / "1", tmp_path / "serving" / MODEL / "1")
    with serve(tmp_path / "serving", tmp_path / "stderr", "--threads", "1") as going:
        clients = Clients(samples[MODEL][3].encoded, going, server)
        with clients.asking():
            wait_until(lambda: clients.answered[going.url] > 50, 60)
            clients.addresses.reverse()
            subprocess.run(wait, check=True)
            going.process.send_signal(signal.SIGTERM)
            assert going.process.wait(spec["terminationGracePeriodSeconds"]) == 0
            before = clients.answered[server.url]
            wait_until(lambda: clients.answered[server.url] > before + 50, 60)
    assert clients.lost == []
    assert "Traceback" not in (tmp_path / "stderr").read_text()
