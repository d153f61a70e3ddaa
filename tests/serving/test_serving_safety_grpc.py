"""Hostile messages over gRPC; and everyone gets their own answer."""

from __future__ import annotations

import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import pytest
from serving_server import b64
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "digits-keras"
PREDICT = f"/v1/models/{MODEL}:predict"
pytestmark = pytest.mark.usefixtures("still_fine")


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


METHODS = [
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelMetadata",
]


def call(channel, method, message):
    """Status and details of a call with any bytes."""
    stub = channel.unary_unary(method, lambda m: m, lambda m: m)
    with pytest.raises(grpc.RpcError) as caught:
        stub(message, timeout=30)
    return caught.value.code().name, caught.value.details()


@pytest.mark.parametrize("method", METHODS)
def test_messages_that_are_none_are_refused(channel, method):
    for message in (b"\xff\xff\xff", b"\x0a\x7f", bytes(range(256))):
        assert call(channel, method, message)[0] == "INVALID_ARGUMENT"
    assert call(channel, method, b"")[0] in ("NOT_FOUND", "INVALID_ARGUMENT")
    assert call(channel, method, bytes(33 * 2**20))[0] == "RESOURCE_EXHAUSTED"


def test_methods_that_are_none_are_unimplemented(channel):
    for method in (
        "/a.B/C",
        "/inference.GRPCInferenceService/ModelStatistics",
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
    ):
        assert call(channel, method, b"")[0] == "UNIMPLEMENTED"


def infer_request(**changes):
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 16, 16, 3], **changes}
    request.inputs.add(**given)
    return request


@pytest.mark.parametrize(
    ("change", "raw"),
    [
        ({"shape": [-1, 16, 16, 3]}, bytes(768)),
        ({"shape": [2**62, 2**62, 2**62]}, bytes(768)),
        ({"shape": [1] * 100_000}, bytes(768)),
        ({"shape": [1, 16, 16, 3]}, bytes(767)),
        ({"shape": [0, 16, 16, 3]}, b""),
        ({"datatype": "FP64"}, bytes(768)),
        ({"name": "x" * 1_000_000}, bytes(768)),
        ({"datatype": "BYTES", "shape": [1]}, b"\xff\xff\xff\xff"),
        ({"datatype": "BYTES", "shape": [2_000_000]}, bytes(8_000_000)),
        ({"datatype": "BYTES", "shape": [1]}, struct.pack("<I", 4) + b"text"),
    ],
    ids=range(10),
)
def test_wrong_tensors_in_grpc_are_refused(channel, change, raw):
    request = infer_request(**change)
    request.raw_input_contents.append(raw)
    status, details = call(channel, METHODS[4], request.SerializeToString())
    assert status == "INVALID_ARGUMENT"
    assert len(details) < 700
    request.raw_input_contents.append(raw)
    assert call(channel, METHODS[4], request.SerializeToString())[0] == "INVALID_ARGUMENT"


def test_names_in_grpc_lead_nowhere(channel):
    for name in ("..", "../../etc/passwd", "a\0b", "\U0001f600", "x" * 1_000_000, "/"):
        request = infer_request()
        request.model_name = name
        request.raw_input_contents.append(bytes(768))
        status, details = call(channel, METHODS[4], request.SerializeToString())
        assert status == "NOT_FOUND"
        assert len(details) < 700


# --- Everyone's own answer


def test_everyone_gets_the_scores_of_their_own_image(server, demo):
    from serving.models.engines import SavedModel

    files = [path.read_bytes() for path in demo.kept[:32]]
    graph = SavedModel(server.folder / MODEL / "1")
    expected_NC = graph.scores(graph.decode(files))
    apart = np.abs(expected_NC[:, None] - expected_NC[None]).max(axis=2) + np.eye(len(files))
    assert apart.min() > 1e-6, "the images must be told apart by their scores"
    together = threading.Barrier(len(files))
    channel = grpc.insecure_channel(server.grpc)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def over_http(client, index):
        row = {"signature_name": "serving_bytes", "instances": [b64(files[index])]}
        answer = client.post(PREDICT, json=row)
        return answer.json()["predictions"][0]["scores"]

    def over_grpc(client, index):
        request = infer_request(datatype="BYTES", shape=[1])
        request.inputs[0].contents.bytes_contents.append(files[index])
        raw = stub.ModelInfer(request, timeout=60).raw_output_contents[0]
        return np.frombuffer(raw, np.float32)

    def client(index):
        with httpx.Client(base_url=server.url, timeout=60) as http:
            together.wait()
            return [(over_grpc if n % 2 else over_http)(http, index) for n in range(12)]

    with ThreadPoolExecutor(len(files)) as pool:
        answers = list(pool.map(client, range(len(files))))
    channel.close()
    for index, scores in enumerate(answers):
        np.testing.assert_allclose(scores, np.tile(expected_NC[index], (12, 1)), atol=2e-6)
