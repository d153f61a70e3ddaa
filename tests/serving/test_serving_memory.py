"""Small requests that would take a server's memory, under the limit that its formula names."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from memory_cgroup import memory_cgroup
from PIL import Image
from serving_server import MODELS, serve
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.config import LimitsConfig
from serving.memory import memory_bytes

ALLOWED = frozenset({200, 413, 429})


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def limited(demo, tmp_path_factory):
    """A server that is killed when it takes more than the formula says."""
    root = tmp_path_factory.mktemp("limited")
    for model in MODELS:
        shutil.copytree(demo.serving / model / "1", root / "serving" / model / "1")
    size = sum(f.stat().st_size for f in (root / "serving").rglob("*") if f.is_file())
    with memory_cgroup(memory_bytes(LimitsConfig(), size)) as group, ExitStack() as stack:
        with group.inherited():
            running = stack.enter_context(serve(root / "serving", root / "log.txt"))
        yield running


@pytest.fixture(scope="module")
def photograph():
    """24 megapixels."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    return Image.fromarray(noise).resize((6000, 4000))


def statuses(requests, timeout=120):
    with ThreadPoolExecutor(len(requests)) as pool:
        return [
            f.result() for f in [pool.submit(httpx.post, **r, timeout=timeout) for r in requests]
        ]


def survived(running, image):
    assert running.process.poll() is None, "killed"
    answer = httpx.post(f"{running.url}/predict?model={MODELS[0]}", content=image, timeout=60)
    assert answer.status_code == 200, answer.text


def check(answers, allowed=ALLOWED):
    found = [a.status_code for a in answers]
    assert set(found) <= allowed, found
    assert all(int(a.headers["retry-after"]) > 0 for a in answers if a.status_code == 429)
    return found


def test_images_of_many_pixels_take_turns(limited, demo):
    running = limited
    bomb = encoded(Image.new("RGB", (7000, 7000)), "PNG")
    assert len(bomb) < 200_000
    at = [f"{running.url}/predict?model={m}" for m in MODELS]
    assert 200 in check(statuses([{"url": at[i % 2], "content": bomb} for i in range(8)]))
    survived(running, demo.kept[0].read_bytes())


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["plain", "progressive"])
def test_many_photographs_at_a_time(limited, demo, photograph, options):
    running = limited
    image = encoded(photograph, "JPEG", **options)
    at = [f"{running.url}/predict?model={m}" for m in MODELS]
    assert 200 in check(statuses([{"url": at[i % 2], "content": image} for i in range(16)]))
    survived(running, demo.kept[0].read_bytes())


def test_one_request_of_as_many_pixels_as_it_may_have(limited, demo):
    running = limited
    image = base64.b64encode(encoded(Image.new("RGB", (7000, 7000)), "PNG")).decode()
    body = {"signature_name": "serving_bytes", "instances": [{"b64": image}] * 4}
    at = f"{running.url}/v1/models/{MODELS[0]}:predict"
    check(statuses([{"url": at, "json": body}]))
    survived(running, demo.kept[0].read_bytes())


def test_bodies_that_unpack_to_much(limited, demo):
    running = limited
    many = b'{"instances": [' + b"[]," * 10_000_000 + b"[]]}"
    pixels = json.dumps({"instances": np.zeros((256, 16, 16, 3), int).tolist()}).encode()
    at = f"{running.url}/v1/models/{MODELS[0]}:predict"
    packed = [
        {"url": at, "content": gzip.compress(data), "headers": {"content-encoding": "gzip"}}
        for data in (many, many, pixels, b" " * 30_000_000 + b"{}", pixels)
    ]
    found = check(statuses(packed), ALLOWED | {400})
    assert found[0] in (413, 429)
    survived(running, demo.kept[0].read_bytes())


def test_large_bodies_together_are_refused(limited, demo):
    running = limited
    at = f"{running.url}/v1/models/{MODELS[0]}:predict"
    image = base64.b64encode(bytes(22_000_000)).decode()
    body = json.dumps({"signature_name": "serving_bytes", "instances": [{"b64": image}]}).encode()
    found = check(
        statuses([{"url": at, "content": body} for _ in range(12)]),
        ALLOWED | {400, 408},
    )
    assert 400 in found, "no image"
    survived(running, demo.kept[0].read_bytes())


def test_messages_of_many_parts(limited, demo):
    running = limited
    request = service_pb2.ModelInferRequest(model_name=MODELS[0])
    many = request.SerializeToString() + b"\x2a\x00" * 15_000_000  # empty inputs
    with grpc.insecure_channel(
        running.grpc, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", bytes, bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(many, timeout=120)
        assert caught.value.code().name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
        assert "fields" in caught.value.details()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request.inputs.add(name="images", datatype="UINT8", shape=[256, 16, 16, 3])
        request.inputs[0].contents.uint_contents.extend([200] * (256 * 16 * 16 * 3))
        assert len(stub.ModelInfer(request, timeout=120).raw_output_contents) == 3
    survived(running, demo.kept[0].read_bytes())


def test_memory_is_given_back(limited, demo, photograph):
    """After all of the above, and once more."""
    test_many_photographs_at_a_time(limited, demo, photograph, {})
    status = Path(f"/proc/{limited.process.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    assert resident < memory_bytes(LimitsConfig()) / 2
