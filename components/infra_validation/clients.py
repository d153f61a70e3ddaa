"""Asks a server over every protocol that images are sent to it by."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from components.infra_validation.child import HOST
from components.infra_validation.report import NotBlessedError
from components.infra_validation.sample import Example, Floats
from modelstore.artifact import GOLDEN
from modelstore.savedmodel import SCORES, SIGNATURE_BYTES, SIGNATURE_EXAMPLES, SIGNATURE_TENSOR

Ask = Callable[[Sequence[Example]], Floats]
"""The scores [N, C] of images; raises NotBlessedError where the answer is an error or has
another form, and OSError, HTTPException or grpc.RpcError where there is none."""

_MESSAGE = 64 * 2**20
_NO_ANSWER = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})


class Http:
    """REST, on one connection.

    Args:
      name: the model's.
      class_names: in the order of the scores.
      timeout: of each answer, in seconds.
    """

    def __init__(self, port: int, name: str, class_names: Sequence[str], timeout: float) -> None:
        self._connection = HTTPConnection(HOST, port, timeout=timeout)
        self._name = name
        self._class_names = class_names

    def close(self) -> None:
        self._connection.close()

    def v1(self, examples: Sequence[Example]) -> Floats:
        """TensorFlow Serving's REST, by rows of image files in base64."""
        files = [{"b64": base64.b64encode(e.encoded).decode()} for e in examples]
        body = json.dumps({"signature_name": SIGNATURE_BYTES, "instances": files}).encode()
        answer = self._post("REST", f"/v1/models/{self._name}:predict", body)
        with _form("REST"):
            rows = answer["predictions"]
            scores_NC = np.array([row[SCORES] for row in rows], np.float32)
            for row, scores_C in zip(rows, scores_NC, strict=True):
                self._check_top(row["labels"], row["label_scores"], scores_C)
        return scores_NC

    def v2(self, examples: Sequence[Example]) -> Floats:
        """The Open Inference Protocol, with binary tensors."""
        data = _strings(examples)
        head: dict[str, Any] = {"name": "images", "datatype": "BYTES", "shape": [len(examples)]}
        head["parameters"] = {"binary_data_size": len(data)}
        text = json.dumps({"inputs": [head], "outputs": [{"name": SCORES}]}).encode()
        lengths = {"Inference-Header-Content-Length": str(len(text))}
        answer = self._post("REST V2", f"/v2/models/{self._name}/infer", text + data, lengths)
        with _form("REST V2"):
            (output,) = (o for o in answer["outputs"] if o["name"] == SCORES)
            return np.array(output["data"], np.float32).reshape(output["shape"])

    def file(self, example: Example) -> tuple[str, Floats]:
        """An image file as it is; the engine that answered, and the scores [1, C]."""
        path = f"/predict?model={self._name}&top={len(self._class_names)}"
        answer = self._post("POST /predict", path, example.encoded)
        with _form("POST /predict"):
            engine = str(answer["engine"])
            scores = {str(c["label"]): float(c["score"]) for c in answer["classes"]}
        if scores.keys() != set(self._class_names):
            raise NotBlessedError(f"POST /predict knows other classes: {', '.join(sorted(scores))}")
        return engine, np.array([[scores[c] for c in self._class_names]], np.float32)

    def _post(self, what: str, path: str, body: bytes, headers: Any = None) -> Any:
        self._connection.request("POST", path, body, headers or {})
        response = self._connection.getresponse()
        text = response.read()
        if response.status != 200:
            reason = text[:300].decode(errors="replace")
            raise NotBlessedError(f"{what} refuses an image: {response.status} {reason}")
        with _form(what):
            return json.loads(text)

    def _check_top(self, labels: Any, label_scores: Any, scores_C: Floats) -> None:
        """Checks that labels have the scores of their classes, the likeliest first."""
        own = [float(scores_C[self._class_names.index(label)]) for label in labels]
        if own != [float(np.float32(s)) for s in label_scores] or own != sorted(own, reverse=True):
            raise NotBlessedError(f"REST names classes that are not the likeliest: {labels}")


class Grpc:
    """gRPC, on one channel; see `Http`."""

    def __init__(self, port: int, name: str, timeout: float) -> None:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc
        from tritonclient.grpc import service_pb2_grpc

        self._error = grpc.RpcError
        self._name = name
        self._timeout = timeout
        self._channel = grpc.insecure_channel(
            f"{HOST}:{port}",
            options=[
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", _MESSAGE),
                ("grpc.max_send_message_length", _MESSAGE),
            ],
        )
        self._v1 = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._v2 = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def v1(self, examples: Sequence[Example]) -> Floats:
        """TensorFlow Serving's Predict, by raw examples."""
        return self._predict(SIGNATURE_EXAMPLES, "examples", [e.serialised for e in examples])

    def pixels(self, images_NHW3: Any) -> Floats:
        """TensorFlow Serving's Predict, by decoded images."""
        return self._predict(SIGNATURE_TENSOR, "images", images_NHW3)

    def v2(self, examples: Sequence[Example]) -> Floats:
        """The Open Inference Protocol, by image files."""
        from tritonclient.grpc import service_pb2 as oip

        request = oip.ModelInferRequest(model_name=self._name)
        request.inputs.add(name="images", datatype="BYTES", shape=[len(examples)])
        request.raw_input_contents.append(_strings(examples))
        request.outputs.add(name=SCORES)
        response = self._call("gRPC V2", self._v2.ModelInfer, request)
        with _form("gRPC V2"):
            (output,), (data,) = response.outputs, response.raw_output_contents
            return np.frombuffer(data, np.float32).reshape(list(output.shape))

    def _predict(self, signature: str, key: str, values: Any) -> Floats:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.model_spec.signature_name = signature
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
        response = self._call("gRPC", self._v1.Predict, request)
        with _form("gRPC"):
            return np.asarray(tf.make_ndarray(response.outputs[SCORES]), np.float32)

    def _call(self, what: str, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except self._error as e:
            if e.code().name in _NO_ANSWER:
                raise
            raise NotBlessedError(f"{what} refuses an image: {e.code().name} {e.details()}") from e


def golden(model: Path) -> tuple[Any, Floats]:
    """Reads the golden images, uint8 [N, H, W, 3], and the trained model's scores for them."""
    try:
        with np.load(model / GOLDEN) as arrays:
            return arrays["images_NHW3"], arrays["scores_NC"]
    except (OSError, ValueError, KeyError) as e:
        raise NotBlessedError(f"{GOLDEN} cannot be read: {e}") from e


@contextmanager
def _form(what: str) -> Iterator[None]:
    """Says that whatever an answer lacks is what the server did wrong."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        reason = f"{type(e).__name__}: {e}"
        raise NotBlessedError(f"{what} gave an answer of another form: {reason}") from e


def _strings(examples: Sequence[Example]) -> bytes:
    """Returns image files as a tensor of the Open Inference Protocol."""
    return b"".join(struct.pack("<I", len(e.encoded)) + e.encoded for e in examples)
