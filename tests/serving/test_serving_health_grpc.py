"""grpc.health.v1 and reflection, by the stubs and the client that probes and tools are made of."""

from __future__ import annotations

import signal
import time

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from serving_server import serve
from tritonclient.grpc import service_pb2, service_pb2_grpc

SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
SERVICES = (
    "grpc.health.v1.Health",
    "inference.GRPCInferenceService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def check(channel, service="", **options):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=20, **options).status


def test_health_is_that_of_readyz(channel):
    for service in ("", "readiness", "liveness", *SERVICES[1:]):
        assert check(channel, service) == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "inference.GRPCInferenceServise")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "inference.GRPCInferenceService" in caught.value.details()


TOKEN = "a-token-for-tests-alone"


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A server with a token and no models, that two may ask at a time."""
    root = tmp_path_factory.mktemp("waiting")
    (root / "serving").mkdir()
    env = {"VISIONLINE_SERVE_TOKEN": TOKEN}
    flags = ("--set", "limits.concurrency=2")
    log = root / "log.txt"
    with serve(root / "serving", log, *flags, env=env, probe="/healthz") as running:
        yield running


def test_a_server_without_models_lives_and_is_not_ready_and_tells_who_has_no_token(waiting):
    with grpc.insecure_channel(waiting.grpc) as channel:
        assert check(channel) == NOT_SERVING
        assert check(channel, "liveness") == SERVING
        watched = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="none"), timeout=20
        )
        assert next(watched).status == UNKNOWN
        watched.cancel()


def test_so_many_may_watch(waiting):
    own = [("grpc.use_local_subchannel_pool", 1)]
    with (
        grpc.insecure_channel(waiting.grpc, own) as one,
        grpc.insecure_channel(waiting.grpc, own) as another,
    ):
        stub = health_pb2_grpc.HealthStub(one)
        watched = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(2)]
        assert [next(w).status for w in watched] == [NOT_SERVING] * 2
        stub = health_pb2_grpc.HealthStub(another)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=20))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert check(another) == NOT_SERVING
        for w in watched:
            w.cancel()


def test_reflection_needs_the_token(waiting):
    with grpc.insecure_channel(waiting.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ServerReflectionInfo(iter([request]), timeout=20))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {TOKEN}")]
        answers = stub.ServerReflectionInfo(iter([request]), timeout=20, metadata=metadata)
        assert len(list(answers)) == 1


def test_who_watches_is_told_that_the_server_goes_and_does_not_hold_it_up(demo, tmp_path):
    with (
        serve(demo.serving, tmp_path / "log.txt", "--threads", "1") as running,
        grpc.insecure_channel(running.grpc) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watched = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(3)]
        assert [next(w).status for w in watched] == [SERVING] * 3
        watched[0].cancel()
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert [next(w).status for w in watched[1:]] == [NOT_SERVING] * 2
        assert [list(w) for w in watched[1:]] == [[], []]
        running.process.wait(30)
        assert time.monotonic() - began < 15


# --- Reflection


def test_reflection_describes_all_that_is_offered(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    names = set(database.get_services())
    assert names == {*SERVICES, "grpc.reflection.v1alpha.ServerReflection"}
    pool = DescriptorPool(database)
    for name in names:
        assert pool.FindServiceByName(name).methods
    method = pool.FindServiceByName(SERVICES[1]).methods_by_name["ModelInfer"]
    assert method.input_type.full_name == service_pb2.ModelInferRequest.DESCRIPTOR.full_name


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_are_spoken(channel, version):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services="*"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such"),
    ]
    services, unknown = call(iter(asked), timeout=20)
    found = {service.name for service in services.list_services_response.service}
    assert set(SERVICES) <= found
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    huge = reflection_pb2.ServerReflectionRequest(file_containing_symbol="x" * 100_000)
    (answer,) = call(iter([huge]), timeout=20)
    assert answer.error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    with pytest.raises(grpc.RpcError) as caught:
        next(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(())))
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
