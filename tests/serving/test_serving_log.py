"""The log: what a line holds, that lines come whole and all, and that it holds up nobody."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers import largest_file, wait_until
from repository_fakes import Folder, watched
from serving_server import b64
from starlette.testclient import TestClient
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from common.errors import ConfigError
from serving.app import create_app
from serving.cli import load_config
from serving.config import LimitsConfig, LogConfig, ServeConfig
from serving.logs import log as log_module
from serving.logs.access import Access
from serving.logs.log import Log, messages_into
from serving.logs.record import Record, choose_id, current
from serving.models.repository import Repository
from serving.service import Service

FIELDS = {
    *("time", "kind", "request_id", "protocol", "model", "version", "status", "images"),
    *("bytes_in", "queue_ms", "model_ms", "total_ms", "peer"),
}


@contextmanager
def logging_to(path):
    log = Log(LogConfig(file=str(path)))
    try:
        yield log
    finally:
        log.close()


def lines_of(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def logged(server, request_id):
    """The one line of a request, of the shared server's stderr."""

    def found():
        lines = [s for s in server.log.read_text().splitlines() if s.startswith("{")]
        return [s for s in map(json.loads, lines) if s.get("request_id") == request_id]

    wait_until(lambda: bool(found()), 10)
    (line,) = found()
    return line


# --- Lines of requests


def test_every_protocol_has_a_line_with_where_the_time_went(server, samples):
    import tensorflow as tf

    image = samples["digits-keras"][0].encoded
    ids = {p: f"line of {p}" for p in ("v1", "v2", "file", "v2-grpc", "tfs-grpc")}
    v1 = {"signature_name": "serving_bytes", "instances": [b64(image)] * 2}
    tensor = {"name": "images", "datatype": "BYTES", "shape": [2], "data": [b64(image)["b64"]] * 2}
    v2 = {"id": "the client's", "inputs": [tensor]}
    sizes = {}
    for protocol, path, options in (
        ("v1", "/v1/models/digits-keras:predict", {"json": v1}),
        ("v2", "/v2/models/digits-keras/infer", {"json": v2}),
        ("file", "/predict?model=digits-keras&secret=hidden", {"content": image}),
    ):
        with httpx.Client(base_url=server.url, headers={"X-Request-Id": ids[protocol]}) as client:
            answer = client.post(path, **options)
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, ids[protocol])
        sizes[protocol] = int(answer.request.headers["content-length"])
        if protocol == "v2":
            assert answer.json()["id"] == "the client's"
    infer = service_pb2.ModelInferRequest(model_name="digits-keras", id="the client's")
    infer.inputs.add(name="images", datatype="BYTES", shape=[2])
    infer.inputs[0].contents.bytes_contents.extend([image] * 2)
    predict = predict_pb2.PredictRequest()
    predict.model_spec.name, predict.model_spec.signature_name = "digits-keras", "serving_bytes"
    predict.inputs["images"].CopyFrom(tf.make_tensor_proto([image] * 2))
    with grpc.insecure_channel(server.grpc) as channel:
        for protocol, rpc, request in (
            ("v2-grpc", service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer, infer),
            (
                "tfs-grpc",
                prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict,
                predict,
            ),
        ):
            answer, call = rpc.with_call(request, metadata=[("x-request-id", ids[protocol])])
            assert dict(call.trailing_metadata())["x-request-id"] == ids[protocol]
            sizes[protocol] = request.ByteSize()
            if protocol == "v2-grpc":
                assert answer.id == "the client's"
    for protocol, request_id in ids.items():
        line = logged(server, request_id)
        place = {"rpc"} if "grpc" in protocol else {"method", "path"}
        assert set(line) == FIELDS | place
        assert (line["kind"], line["protocol"], line["model"]) == (
            "request",
            protocol,
            "digits-keras",
        )
        assert (line["version"], line["images"]) == (1, 1 if protocol == "file" else 2)
        assert line["status"] == ("OK" if "grpc" in protocol else 200)
        assert line["bytes_in"] == sizes[protocol]
        assert line["queue_ms"] >= 0 and line["model_ms"] > 0
        assert line["queue_ms"] + line["model_ms"] <= line["total_ms"] < 60_000
        assert re.fullmatch(r"(ipv4:)?127\.0\.0\.1:\d+", line["peer"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert abs((datetime.now(UTC) - datetime.fromisoformat(line["time"])).total_seconds()) < 120
    assert logged(server, ids["file"])["path"] == "/predict"
    assert logged(server, ids["v2-grpc"])["rpc"] == "/inference.GRPCInferenceService/ModelInfer"
    text = server.log.read_text()
    assert b64(image)["b64"][:40] not in text and "hidden" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/models/digits-keras", 405),
        ("GET", "/v1/models/digits-keras/versions/99", 404),
        ("POST", "/v1/models/none:predict", 404),
        ("POST", "/predict", 400),
        ("HEAD", "/v1/models", 200),
    ],
)
def test_every_answer_has_an_id_and_a_line(rest, server, method, path, status):
    answer = rest.request(method, path)
    assert answer.status_code == status, answer.text
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    line = logged(server, request_id)
    assert (line["method"], line["path"], line["status"]) == (method, path, status)


def test_probes_have_no_line(rest, server):
    """They have an id, as all have; and the requests after them have lines."""
    ids = [
        rest.request(method, path).headers["x-request-id"]
        for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
        for method in ("GET", "HEAD")
    ]
    with grpc.insecure_channel(server.grpc) as channel:
        v2 = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        for call, request in (
            (v2.ServerLive, service_pb2.ServerLiveRequest()),
            (v2.ServerReady, service_pb2.ServerReadyRequest()),
            (health.Check, health_pb2.HealthCheckRequest()),
        ):
            ids.append(dict(call.with_call(request)[1].trailing_metadata())["x-request-id"])
    logged(server, rest.get("/v1/models").headers["x-request-id"])
    text = server.log.read_text()
    assert not [request_id for request_id in ids if request_id in text]


def test_what_grpc_refuses_has_an_id_and_a_line(server):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        broken = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for call, code in (
            (lambda **o: stub.ModelInfer(service_pb2.ModelInferRequest(), **o), "NOT_FOUND"),
            (lambda **o: broken(b"\xff\xff", **o), "INVALID_ARGUMENT"),
            (lambda **o: channel.unary_unary("/no.Such/Method")(b"", **o), "UNIMPLEMENTED"),
            (lambda **o: next(stub.ModelStreamInfer(iter(()), **o)), "UNIMPLEMENTED"),
        ):
            for given in ("mine", ""):
                with pytest.raises(grpc.RpcError) as caught:
                    call(metadata=[("x-request-id", given)] if given else [], timeout=30)
                metadata = dict(caught.value.trailing_metadata())
                assert caught.value.code().name == code
                if given:
                    assert metadata["x-request-id"] == given
                else:
                    assert logged(server, metadata["x-request-id"])["status"] == code


@pytest.mark.parametrize("given", ["a", "A" * 128, "with space", '"quoted" {}', "~!@#\\"])
def test_a_sane_id_is_kept(rest, server, given):
    answer = rest.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "A" * 129, "ümlaut", "tab\there", "line\nend", "\x7f"])
def test_another_id_is_replaced(given):
    assert re.fullmatch("[0-9a-f]{32}", choose_id(given))
    assert choose_id(given) != choose_id(given)


def test_nothing_that_is_sent_ends_a_line(rest, server):
    forged = '\n{"time":"now","kind":"forged"}\n'
    answer = rest.get("/v1/models/x%0A%7B%22kind%22:%22forged%22%7D%0A%E2%80%A8%C2%85")
    line = logged(server, answer.headers["x-request-id"])
    assert line["path"] == '/v1/models/x\n{"kind":"forged"}\n\u2028\x85'
    answer = rest.post(
        "/v1/models/digits-keras:predict", json={"signature_name": forged, "inputs": [1]}
    )
    assert logged(server, answer.headers["x-request-id"])["status"] == 400
    assert not [s for s in server.log.read_text().splitlines() if s.startswith('{"kind"')]
    assert "forged" not in {
        json.loads(s)["kind"] for s in server.log.read_text().splitlines() if s.startswith("{")
    }
    long = rest.get("/" + "x" * 5000)
    assert len(logged(server, long.headers["x-request-id"])["path"]) == 512


# --- Failures, loads, and what is configured


def test_a_failure_has_its_id_its_line_and_its_traceback(tmp_path):
    path = tmp_path / "log"
    folder = Folder(tmp_path)
    with logging_to(path) as log:
        app = create_app(Service(folder.repository, LimitsConfig(), Access(log)))

        @app.get("/boom")
        async def boom():
            try:
                raise RuntimeError("boom")
            except RuntimeError:
                logging.getLogger("some.library").exception("it went\nwrong")
                raise

        with messages_into(log, lambda: current().request_id):
            client = TestClient(app, raise_server_exceptions=False)
            answer = client.get("/boom", headers={"x-request-id": "r1"})
            logging.getLogger("some.library").warning("after")
        logging.getLogger("some.library").warning("not any more")
    folder.repository.close()
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r1")
    message, request, after = lines_of(path)
    assert (message["message"], message["request_id"]) == ("it went\nwrong", "r1")
    assert (message["level"], message["logger"]) == ("error", "some.library")
    assert message["traceback"].endswith("RuntimeError: boom\n")
    assert (request["status"], request["request_id"]) == (500, "r1")
    assert after["message"] == "after" and "request_id" not in after


@pytest.mark.parametrize("each_request", [True, False])
def test_loads_and_failures_are_logged_and_requests_if_asked_for(tmp_path, each_request):
    path = tmp_path / "log"
    folder = Folder(tmp_path)
    with logging_to(path) as log:
        access = Access(log, each_request)
        folder.repository = Repository(
            ServeConfig(serving=str(folder.serving), poll_seconds=0.01),
            1, access.metrics.observer, access.event, folder.loads,
        )  # fmt: skip
        client = TestClient(create_app(Service(folder.repository, LimitsConfig(), access)))
        with watched(folder):
            folder.push("m")
            folder.push("m", 'broken, "badly"\n')
            wait_until(lambda: folder.states("m") == {1: "AVAILABLE", 2: "END"}, 10)
            assert (
                client.post("/v1/models/m/versions/2:predict", json={"inputs": [1]}).status_code
                == 503
            )
            folder.repository.unload("m")
            wait_until(lambda: ("m", 1) in folder.loads.closed, 10)
    told = {(s["kind"], s["model"], s["version"]): s for s in lines_of(path)}
    requests = [s for s in lines_of(path) if s["kind"] == "request"]
    assert ("loaded", "m", 1) in told and ("unloaded", "m", 1) in told
    assert told["failed", "m", 2]["detail"] == 'it is broken, "badly"\n'
    assert len(requests) == each_request
    for line in requests:
        assert (line["reason"], line["model"]) == ("Unavailable", "m")
        assert line["error"] == 'm version 2: it is broken, "badly"\n'


def test_the_config_says_where_and_what(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text('[log]\naccess = false\nfile = "served.log"\n')
    config = load_config(path, {"serving": str(tmp_path)})
    assert config.log == LogConfig(access=False, file="served.log")
    path.write_text("[log]\nfiles = 1\n")
    with pytest.raises(ConfigError, match=r"log\.files.*file"):
        load_config(path, {"serving": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"Cannot write the log .*: No such file or directory"):
        Log(LogConfig(file=str(tmp_path / "none" / "log")))


def test_outcomes():
    found = {s: Record(status=s).outcome for s in (200, 302, 404, 429, 500, 503)}
    assert found == {
        200: "ok",
        302: "ok",
        404: "refused",
        429: "refused",
        500: "failed",
        503: "failed",
    }
    codes = {c.name: Record(status=c.name).outcome for c in grpc.StatusCode}
    assert [c for c, o in codes.items() if o == "ok"] == ["OK"]
    assert codes["NOT_FOUND"] == "refused" and codes["INTERNAL"] == "failed"


# --- Writing


def test_no_line_is_lost_or_torn_when_it_is_closed(tmp_path):
    path = tmp_path / "log"
    with logging_to(path) as log:

        def write(thread):
            for number in range(2000):
                log.write({"thread": thread, "number": number, "text": "\u2028\n\ud800" * 20})

        threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = lines_of(path)
    assert len(found) == 10_000
    for thread in range(5):
        assert [s["number"] for s in found if s["thread"] == thread] == list(range(2000))
    log.write({"too": "late"})
    log.close()


def test_a_file_that_is_moved_away_is_made_anew(tmp_path):
    path, old = tmp_path / "log", tmp_path / "log.1"
    path.write_text('{"before":1}\n')
    with logging_to(path) as log:
        log.write({"n": 1})
        wait_until(lambda: len(lines_of(path)) == 2, 5)
        path.rename(old)
        log.write({"n": 2})
        wait_until(path.exists, 5)
    assert [s.get("n") for s in lines_of(old)] == [None, 1]
    assert [s["n"] for s in lines_of(path)] == [2]


def test_a_full_disk_loses_lines_counts_them_and_goes_on(tmp_path):
    path, lost = tmp_path / "log", []
    with logging_to(path) as log:
        log.lost = lost.append
        log.write({"n": 1})
        wait_until(lambda: path.stat().st_size > 0, 5)
        with largest_file(path.stat().st_size + 10):
            log.write({"n": 2})
            log.write({"n": 3})
            wait_until(lambda: sum(lost) == 2, 5)
        log.write({"n": 4})
    first, torn, last = path.read_text().splitlines()
    assert (json.loads(first)["n"], json.loads(last)["n"]) == (1, 4)
    assert len(torn) == 10


def test_a_reader_that_does_not_read_holds_up_nobody(monkeypatch):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    monkeypatch.setattr(log_module, "_STDERR", writer)
    monkeypatch.setattr(log_module, "QUEUE", 1000)
    log, lost = Log(LogConfig()), []
    log.lost = lost.append
    began = time.monotonic()
    log.write({"n": -1, "text": "x" * 10_000})
    time.sleep(0.2)  # it is being written now
    for number in range(1500):
        log.write({"n": number})
    assert sum(lost) == 500
    log.close(0.2)
    assert time.monotonic() - began < 30
    received = b""
    while received.count(b"\n") < 1001:
        received += os.read(reader, 65536)
    log.close()
    numbers = [json.loads(line)["n"] for line in received.splitlines()]
    assert numbers == list(range(-1, 1000))
    os.close(reader), os.close(writer)
