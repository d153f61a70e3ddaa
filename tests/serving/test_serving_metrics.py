"""What Prometheus reads: from the shared server, and from a repository of fakes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import httpx
import numpy as np
import pytest
from helpers import ROOT, wait_until
from prometheus_client.parser import text_string_to_metric_families
from repository_fakes import Folder, watched
from serving_server import b64
from starlette.testclient import TestClient
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.app import create_app
from serving.config import BatchingConfig, LimitsConfig, ServeConfig
from serving.logs import metrics
from serving.logs.access import Access
from serving.logs.record import Record
from serving.models.batching import Batcher
from serving.models.repository import Repository
from serving.models.served import Slot
from serving.service import Service


def parsed(text):
    """Every sample's value, by its name and sorted labels."""
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def scraped(server):
    answer = httpx.get(f"{server.url}/metrics", timeout=30)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


def value(samples, name, **labels):
    return samples.get((f"visionline_{name}", *sorted(labels.items())), 0.0)


def series(samples):
    return {key for key in samples if key[0].startswith("visionline_")}


# --- Requests, one in each protocol


def ask_v1(server, sample):
    body = {"signature_name": "serving_bytes", "instances": [b64(sample.encoded)] * 3}
    httpx.post(f"{server.url}/v1/models/digits-keras:predict", json=body).raise_for_status()


def ask_v2(server, sample):
    tensor = {"name": "images", "datatype": "BYTES", "shape": [3]}
    tensor["data"] = [b64(sample.encoded)["b64"]] * 3
    url = f"{server.url}/v2/models/digits-keras/infer"
    httpx.post(url, json={"inputs": [tensor]}).raise_for_status()


def ask_file(server, sample):
    url = f"{server.url}/predict?model=digits-keras"
    for _ in range(3):
        httpx.post(url, content=sample.encoded).raise_for_status()


def ask_v2_grpc(server, sample):
    request = service_pb2.ModelInferRequest(model_name="digits-keras")
    request.inputs.add(name="images", datatype="BYTES", shape=[3])
    request.inputs[0].contents.bytes_contents.extend([sample.encoded] * 3)
    with grpc.insecure_channel(server.grpc) as channel:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)


def ask_tfs_grpc(server, sample):
    import tensorflow as tf

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits-keras"
    request.model_spec.signature_name = "serving_bytes"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto([sample.encoded] * 3))
    with grpc.insecure_channel(server.grpc) as channel:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)


ASK = {
    "v1": (ask_v1, "200", 1),
    "v2": (ask_v2, "200", 1),
    "file": (ask_file, "200", 3),
    "v2-grpc": (ask_v2_grpc, "OK", 1),
    "tfs-grpc": (ask_tfs_grpc, "OK", 1),
}


@pytest.mark.parametrize("protocol", ASK)
def test_an_answer_is_counted_and_timed_by_model_version_and_protocol(server, samples, protocol):
    ask, code, requests = ASK[protocol]
    before = scraped(server)
    ask(server, samples["digits-keras"][0])
    wait_until(lambda: value(scraped(server), "requests_in_flight", protocol=protocol) == 0, 5)
    after = scraped(server)

    def grown(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    version = {"model": "digits-keras", "version": "1"}
    assert grown("requests_total", **version, protocol=protocol, code=code) == requests
    timed = {**version, "protocol": protocol, "outcome": "ok"}
    assert grown("request_seconds_count", **timed) == requests
    assert grown("request_seconds_bucket", **timed, le="+Inf") == requests
    assert 0 < grown("request_seconds_sum", **timed) < 30
    assert grown("images_total", **version, protocol=protocol) == 3
    assert grown("batch_images_sum", **version) == 3
    assert grown("queue_seconds_count", **version) == requests
    assert 1 <= grown("batch_seconds_count", **version) <= requests
    assert value(after, "queue_images", **version) == 0


def test_a_scrape_has_the_versions_their_loads_and_the_process(server):
    found = scraped(server)
    version = {"model": "digits-keras", "version": "1"}
    assert value(found, "version_state", **version, state="AVAILABLE") == 1
    assert value(found, "loads_total", model="digits-keras", outcome="loaded") >= 1
    (seconds,) = (
        v
        for (name, *labels), v in found.items()
        if name == "visionline_version_load_seconds" and set(version.items()) < set(labels)
    )
    assert 0 < seconds < 120
    assert found[("process_resident_memory_bytes",)] > 1e7
    assert value(found, "requests_in_flight", protocol="") == 1  # this very one


def test_refusals_are_counted_by_their_cause(server):
    before = scraped(server)
    httpx.post(f"{server.url}/predict?model=digits-keras", content=b"no image")
    after = scraped(server)
    for name, labels in (
        ("refused_total", {"protocol": "file", "reason": "InvalidRequest"}),
        (
            "requests_total",
            {"model": "digits-keras", "version": "1", "protocol": "file", "code": "400"},
        ),
    ):
        assert value(after, name, **labels) == value(before, name, **labels) + 1


def test_what_clients_invent_makes_no_series(server):
    def invent(word):
        for path in (f"/v1/models/{word}:predict", f"/v2/models/{word}/infer", f"/{word}"):
            httpx.post(f"{server.url}{path}", json={"instances": [1], "inputs": []})
        httpx.get(f"{server.url}/v1/models/digits-keras/versions/{len(word)}77")
        httpx.get(f"{server.url}/v1/models/digits-keras/labels/{word}/metadata")
        httpx.post(f"{server.url}/predict?model={word}", content=b"x")
        httpx.request(word.upper(), f"{server.url}/healthz")
        with grpc.insecure_channel(server.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            infer = service_pb2.ModelInferRequest(model_name=word)
            for call in (
                lambda: stub.ModelInfer(infer),
                lambda: stub.ModelMetadata(
                    service_pb2.ModelMetadataRequest(name="digits-keras", version="987")
                ),
                lambda: channel.unary_unary(f"/{word}.Service/{word}")(b""),
                lambda: channel.unary_unary(f"/tensorflow.serving.{word}/{word}")(b""),
            ):
                with pytest.raises(grpc.RpcError):
                    call()

    invent("first")
    before = scraped(server)
    for number in range(5):
        invent(f"word{'x' * number}")
    after = scraped(server)
    assert series(after) == series(before)
    assert not re.search("word|first|987", str(series(after)))


def test_the_documentation_has_every_metric(server, samples):
    ask_file(server, samples["digits-keras"][0])
    httpx.post(f"{server.url}/predict?model=digits-keras", content=b"no image")  # a refusal
    text = (ROOT / "docs" / "serving-operations.md").read_text()
    rows = re.findall(r"^\| `(visionline_\w+)` \| (\w+) \| ([\w, ]*) ?\|", text, re.M)
    told = {name.removesuffix("_total"): (kind, labels.strip()) for name, kind, labels in rows}
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    found = {}
    for family in families:
        if family.name.startswith("visionline_"):
            labels = {label for s in family.samples for label in s.labels} - {"le"}
            found[family.name] = (family.type, labels)
    assert {n: (kind, set(filter(None, s.split(", ")))) for n, (kind, s) in told.items()} == found


# --- Without a real model


def test_the_queue_and_the_batches_are_seen_as_they_are():
    found = metrics.Metrics()
    go_on = []

    def run(images_NHW3):
        wait_until(lambda: bool(go_on), 10)
        return np.zeros((len(images_NHW3), 2), np.float32)

    config = BatchingConfig(max_batch=4, max_delay_ms=0)
    batcher = Batcher(list, run, config, found.observer("m", 1))
    pixels = np.zeros((3, 1, 1, 3), np.uint8)

    def now(name, **labels):
        return value(parsed(found.render().decode()), name, model="m", version="1", **labels)

    first = batcher.submit(pixels[:1], time.monotonic() + 30)
    wait_until(lambda: now("queue_seconds_count") == 1, 5)
    second = batcher.submit(pixels, time.monotonic() + 30)
    assert now("queue_images") == 3
    go_on.append(True)
    first.result(10), second.result(10)
    batcher.close()
    assert now("queue_images") == 0
    assert (now("batch_images_count"), now("batch_images_sum")) == (2, 4)
    assert now("batch_images_bucket", le="2.0") == 1


def repository_of(folder, access):
    return Repository(
        ServeConfig(serving=str(folder.serving), poll_seconds=0.01),
        threads=1,
        observers=access.metrics.observer,
        event=access.event,
        load=folder.loads,
    )


def test_loads_failures_and_unloads_are_counted_and_what_is_gone_is_forgotten(
    tmp_path, monkeypatch
):
    access = Access()
    folder = Folder(tmp_path)
    folder.repository = repository_of(folder, access)
    service = Service(folder.repository, LimitsConfig(), access)
    clock = [0.0]
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    with watched(folder):
        for content in ("good", "broken"):
            folder.push("m", content)
        folder.push("other")
        wait_until(lambda: folder.states("m") == {1: "AVAILABLE", 2: "END"}, 10)
        wait_until(lambda: folder.available("other") == [1], 10)
        with service.use("m"):
            pass
        for version in (1, None):
            access.metrics.began("v1")
            record = Record(protocol="v1", model="m", version=version, images=1, status=200)
            access.metrics.ended(record, 0.1)

        def found():
            return parsed(access.metrics.render().decode())

        now = found()
        assert value(now, "version_state", model="m", version="1", state="AVAILABLE") == 1
        assert value(now, "version_state", model="m", version="2", state="END") == 1
        assert value(now, "loads_total", model="m", outcome="loaded") == 1
        assert value(now, "loads_total", model="m", outcome="failed") == 1
        assert value(now, "version_load_seconds", model="m", version="1", engine="fake") == 0.5

        folder.repository.unload("m")
        wait_until(lambda: folder.states("m")[1] == "END", 10)
        wait_until(lambda: value(found(), "loads_total", model="m", outcome="unloaded") == 1, 10)
        counted = {"model": "m", "version": "1", "protocol": "v1", "code": "200"}
        assert value(found(), "requests_total", **counted) == 1, "its last values are still there"
        clock[0] += metrics.KEPT_SECONDS + 1
        found()
        now = str(sorted(series(found())))
        assert "('model', 'm'), ('version', '1')" not in now
        assert "('model', 'other'), ('version', '1')" in now
        assert value(found(), "requests_total", **{**counted, "version": ""}) == 1
        assert value(found(), "loads_total", model="m", outcome="unloaded") == 1

        for version in (1, 2):
            folder.remove("m", version)
        wait_until(lambda: "m" not in folder.repository, 10)
        found()
        clock[0] += metrics.KEPT_SECONDS + 1
        found()
        assert "('model', 'm')" not in str(series(found()))


def test_a_version_that_comes_back_in_time_keeps_its_series(monkeypatch):
    found = metrics.Metrics()
    clock = [0.0]
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    found.observer("m", 1).ran(2, 0.1)

    def there():
        return {"m": {1: Slot(1)}}

    for gone in (True, False, True):
        found.models = dict if gone else there
        found.render()
        clock[0] += metrics.KEPT_SECONDS - 1
    found.render()
    samples = parsed(found.render().decode())
    assert value(samples, "batch_images_sum", model="m", version="1") == 2


def test_two_services_have_metrics_of_their_own(tmp_path):
    (tmp_path / "serving").mkdir()
    seen = []
    for _ in range(2):
        folder = Folder(tmp_path)
        client = TestClient(create_app(Service(folder.repository, LimitsConfig())))
        assert client.get("/healthz").status_code == 200
        samples = parsed(client.get("/metrics").text)
        seen.append(value(samples, "requests_total", model="", version="", protocol="", code="200"))
        folder.repository.close()
    assert seen == [1, 1]


def test_scrapes_while_requests_are_answered(server, samples):
    image = samples["digits-keras"][0].encoded
    url = f"{server.url}/predict?model=digits-keras"

    def ask(number):
        if number % 4 == 0:
            return bool(scraped(server))
        return httpx.post(url, content=image, timeout=30).status_code == 200

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(80)))
