"""One encoded image as a request, in each protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass

GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Wire:
    """What is sent for one image."""

    kind: str
    """"http": `message` is a whole HTTP/1.1 request; "grpc": a serialised message."""
    message: bytes
    target: str = ""
    """gRPC's method."""


def wire(protocol: str, model: str, image: bytes) -> Wire:
    """A request that classifies `image`.

    Raises:
      KeyError: no such protocol.
    """
    if protocol == "v2-grpc":
        return Wire(GRPC, _v2_message(model, image), "/inference.GRPCInferenceService/ModelInfer")
    path, kind, body = {
        "v1": lambda: (f"/v1/models/{model}:predict", _JSON, _json(instances=[_b64(image)])),
        "v2": lambda: (f"/v2/models/{model}/infer", _JSON, _v2_json(image)),
        "file": lambda: (f"/predict?model={model}", "image/jpeg", image),
        "litserve": lambda: ("/predict", _JSON, _json(image=_text(image))),
        "bad-json": lambda: (f"/v1/models/{model}:predict", _JSON, b'{"instances": [{'),
        "bad-image": lambda: (f"/predict?model={model}", "image/jpeg", image[: len(image) // 2]),
        "bad-model": lambda: ("/predict?model=nobody", "image/jpeg", image),
        "bad-base64": lambda: (
            f"/v1/models/{model}:predict", _JSON, _json(instances=[{"b64": "no base64"}]),
        ),
    }[protocol]()  # fmt: skip
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return Wire("http", head.encode() + body)


def scores(asked: Wire, body: bytes) -> list[float]:
    """The scores of an answer, whatever the protocol: its numbers but whole ones and times."""
    if asked.kind == GRPC:
        import numpy as np
        from tritonclient.grpc import service_pb2 as oip

        answer = oip.ModelInferResponse.FromString(body)
        raw = iter(answer.raw_output_contents)
        found = []
        for tensor in answer.outputs:
            data = next(raw, b"")
            if tensor.datatype == "FP32":
                values = np.frombuffer(data, np.float32) if data else tensor.contents.fp32_contents
                found += [float(v) for v in values]
        return found
    return [*_floats(json.loads(body))]


def _floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        if isinstance(value, dict):
            value = [inside for key, inside in value.items() if key != "milliseconds"]
        for inside in value:
            yield from _floats(inside)


BAD = ("bad-json", "bad-image", "bad-model", "bad-base64")
"""Protocols whose requests must be refused."""
_JSON = "application/json"


def _json(**body: object) -> bytes:
    return json.dumps(body).encode()


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def _b64(image: bytes) -> dict[str, str]:
    return {"b64": _text(image)}


def _v2_json(image: bytes) -> bytes:
    # As MLServer's codec for base64 asks for it; visionline needs no content type.
    return _json(
        inputs=[
            {
                "name": "images",
                "datatype": "BYTES",
                "shape": [1],
                "parameters": {"content_type": "base64"},
                "data": [_text(image)],
            }
        ]
    )


def _v2_message(model: str, image: bytes) -> bytes:
    from tritonclient.grpc import service_pb2 as oip

    request = oip.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="images", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(image)
    serialised: bytes = request.SerializeToString()
    return serialised
