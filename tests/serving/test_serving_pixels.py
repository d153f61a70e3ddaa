"""Files of every odd kind: the same scores for ingestion, `predict`, and every protocol."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import time
import zlib
from dataclasses import replace

import httpx
import numpy as np
import pytest
from odd_images import all_kinds, png
from PIL import Image
from serving_server import b64, in_process

from common.files import checksums
from common.images.headers import count_pixels
from common.images.pixels import check_image
from components.example_gen.gather import example_of
from components.example_gen.records import Record
from components.infra_validation.clients import Grpc, Http
from components.infra_validation.sample import Example
from modelstore.artifact import MANIFEST, ModelCard, PushManifest
from modelstore.predictor import SavedModelPredictor
from modelstore.raw_example import serialise
from serving.answer import Answer
from serving.config import RequestLogConfig
from serving.logs.request_log import RequestLog

MODEL = "digits-keras"
KINDS = all_kinds()


def raw(data):
    """A raw example that nobody has normalised, as a client's."""
    serialised = serialise(
        encoded=data, format="", path=b"", sha256="", width=0, height=0, channels=0,
        size=len(data), label=None, extra={},
    )  # fmt: skip
    return Example(serialised=serialised, encoded=data, label="", pixels=0)


RAW = [raw(kind.data) for kind in KINDS]


def rows(scores_NC, expected_NC):
    scores_NC = np.asarray(scores_NC)
    assert scores_NC.shape == expected_NC.shape
    wrong = np.abs(scores_NC - expected_NC).max(axis=1) > 1e-4
    assert [kind.name for kind, is_wrong in zip(KINDS, wrong, strict=True) if is_wrong] == []


@pytest.fixture(scope="module")
def predictor(demo):
    return SavedModelPredictor(demo.serving / MODEL / "1")


@pytest.fixture(scope="module")
def expected_NC(demo):
    """What the model says of what ingestion makes of the files."""
    import tensorflow as tf

    model = tf.saved_model.load(str(demo.serving / MODEL / "1"))
    ingested = [
        example_of(Record(path=b"x", label="1"), kind.data, "", 10_000)[1] for kind in KINDS
    ]
    return model.signatures["serving_default"](examples=tf.constant(ingested))["scores"].numpy()


@pytest.fixture
def http(server, predictor):
    port = int(server.host.rpartition(":")[2])
    client = Http(port, MODEL, predictor.card.class_names, 60)
    yield client
    client.close()


@pytest.fixture
def grpc(server):
    client = Grpc(int(server.grpc.rpartition(":")[2]), MODEL, 60)
    yield client
    client.close()


def test_the_kinds_are_told_apart(expected_NC):
    """Else equal scores would say nothing."""
    assert len(np.unique(expected_NC.round(3), axis=0)) > 8


def test_predict_and_ingestion_agree(predictor, expected_NC):
    names = list(predictor.card.class_names)
    for kind, expected_C in zip(KINDS, expected_NC, strict=True):
        found = predictor.predict(kind.data)
        scores = expected_C[[names.index(label) for label in found.labels]]
        np.testing.assert_allclose(found.scores, scores, atol=1e-4, err_msg=kind.name)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_rest_agrees(http, protocol, expected_NC):
    rows(getattr(http, protocol)(RAW), expected_NC)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_grpc_agrees(grpc, protocol, expected_NC):
    rows(getattr(grpc, protocol)(RAW), expected_NC)


def test_grpc_by_files_agrees(grpc, expected_NC):
    rows(grpc._predict("serving_bytes", "images", [e.encoded for e in RAW]), expected_NC)


@pytest.mark.parametrize("field", ["encoded", "serialised"])
def test_rest_without_a_signature_agrees(rest, field, expected_NC):
    body = {"instances": [b64(getattr(e, field)) for e in RAW]}
    found = rest.post(f"/v1/models/{MODEL}:predict", json=body).json()["predictions"]
    scores = [row["scores"] if isinstance(row, dict) else row for row in found]
    rows(scores, expected_NC)


def test_the_first_image_alone_chooses_the_same_signature(rest, expected_NC):
    """Whichever kind comes first is known for an image."""
    for kind, expected_C in zip(KINDS, expected_NC, strict=True):
        found = rest.post(f"/v1/models/{MODEL}:predict", json={"instances": [b64(kind.data)]})
        (row,) = found.json()["predictions"]
        np.testing.assert_allclose(row["scores"], expected_C, atol=1e-4, err_msg=kind.name)


def test_uploaded_files_agree(http, expected_NC):
    rows(np.concatenate([http.file(e)[1] for e in RAW]), expected_NC)


# --- What cannot be read

PNG = next(kind.data for kind in KINDS if kind.name == "png")
JPEG = next(kind.data for kind in KINDS if kind.name == "jpeg 1")
WEBP = next(kind.data for kind in KINDS if kind.name == "webp 3")
TIFF = next(kind.data for kind in KINDS if kind.name == "tiff 3")


def header_only(width, height):
    samples = np.zeros((1, 1), np.uint16)
    data = bytearray(png(samples, 0, 8))
    struct.pack_into(">II", data, 16, width, height)
    return bytes(data)


def large(form):
    out = io.BytesIO()
    Image.new("1" if form == "TIFF" else "RGB", (8000, 8000)).save(out, form)
    return out.getvalue()


BROKEN = {
    "nothing": (b"", 400, "got 0 bytes that are none"),
    "text": (b"Hello", 400, "expected a file of JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "expected a file of"),
    "cut PNG": (PNG[:-30], 400, "truncated"),
    "cut JPEG": (JPEG[:-30], 400, "truncated"),
    "cut WebP": (WEBP[:-30], 400, "Image 1"),
    "cut TIFF": (TIFF[:-30], 400, "Image 1"),
    "large PNG": (header_only(20_000, 20_000), 413, "50,000,000"),
    "large TIFF": (large("TIFF"), 413, "8000×8000"),
    "large WebP": (large("WEBP"), 413, "8000×8000"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_refused_with_the_same_sentence(server, rest, grpc, name):
    import grpc as rpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2
    from tritonclient.grpc import service_pb2 as oip

    data, status, words = BROKEN[name]
    files = [PNG, data]
    said = {}
    for field, signature in (("encoded", "serving_bytes"), ("serialised", "serving_default")):
        values = [b64(getattr(raw(f), field)) for f in files]
        body = {"signature_name": signature, "instances": values}
        said[f"v1 {signature}"] = rest.post(f"/v1/models/{MODEL}:predict", json=body)
    packed = b"".join(struct.pack("<I", len(f)) + f for f in files)
    tensor = {"name": "images", "datatype": "BYTES", "shape": [2]}
    json_form = {"inputs": [{**tensor, "data": [b64(f)["b64"] for f in files]}]}
    said["v2 json"] = rest.post(f"/v2/models/{MODEL}/infer", json=json_form)
    head = {**tensor, "parameters": {"binary_data_size": len(packed)}}
    text = json.dumps({"inputs": [head]}).encode()
    lengths = {"Inference-Header-Content-Length": str(len(text))}
    at = f"/v2/models/{MODEL}/infer"
    said["v2 binary"] = rest.post(at, content=text + packed, headers=lengths)
    for protocol, response in said.items():
        assert response.status_code == status, (protocol, response.text)
        said[protocol] = response.json()["error"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, "serving_bytes"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(files, tf.string))
    infer = oip.ModelInferRequest(model_name=MODEL, raw_input_contents=[packed])
    infer.inputs.add(name="images", datatype="BYTES", shape=[2])
    for protocol, method, message in (
        ("tfs-grpc", grpc._v1.Predict, request),
        ("v2-grpc", grpc._v2.ModelInfer, infer),
    ):
        with pytest.raises(rpc.RpcError) as e:
            method(message, timeout=60)
        assert e.value.code() == rpc.StatusCode.INVALID_ARGUMENT
        said[protocol] = e.value.details()
    assert len(set(said.values())) == 1, said
    (sentence,) = set(said.values())
    assert sentence.startswith("Image 1: ") and words in sentence
    alone = rest.post(f"/predict?model={MODEL}", content=data)
    assert alone.status_code == status
    assert alone.json()["error"] == sentence.replace("Image 1: ", "Image 0: ")


def test_a_broken_image_spoils_no_other_request(demo):
    """Of a batch, the requests beside it are answered."""
    with in_process(demo.serving) as service, service.repository.use(MODEL) as loaded:
        deadline = time.monotonic() + 60

        def submit(*files):
            sizes = [count_pixels(file, 10**6) for file in files]
            return loaded.submit(files, deadline, pixels=sizes)

        good = [submit(PNG, WEBP) for _ in range(4)]
        bad = submit(PNG, TIFF, JPEG[:-30])
        good += [submit(TIFF) for _ in range(4)]
        assert [f.result(60).shape for f in good] == [(2, 10)] * 4 + [(1, 10)] * 4
        with pytest.raises(Exception, match=r"Image 2: .*truncated"):
            bad.result(60)


def test_the_page_takes_every_kind(server):
    page = httpx.get(server.url, headers={"accept": "text/html"}).text
    assert 'accept="image/*' in page and "WebP" in page


def test_a_model_of_12_bit_data_is_asked_about_12_bit_files(demo, tmp_path):
    """Whoever reads the file: the server, its request log, and `predict`."""
    version = tmp_path / "serving" / MODEL / "1"
    shutil.copytree(demo.serving / MODEL / "1", version)
    replace(ModelCard.read(version), depth=12).write(version)
    sums = {k: v for k, v in checksums(version).items() if k != MANIFEST}
    replace(PushManifest.read(version), checksums=sums).write(version)
    grey = np.asarray(Image.open(io.BytesIO(PNG)).convert("L"))
    of_8, of_12 = png(grey.astype(np.uint16), 0, 8), png(grey.astype(np.uint16) * 257 >> 4, 0, 16)
    predictor = SavedModelPredictor(version)
    np.testing.assert_allclose(predictor.predict(of_12).scores, predictor.predict(of_8).scores)
    with in_process(tmp_path / "serving") as service, service.repository.use(MODEL) as loaded:
        sizes = [count_pixels(file, 10**6) for file in (of_8, of_12)]
        scores_NC = loaded.submit([of_8, of_12], time.monotonic() + 60, pixels=sizes).result(60)
        np.testing.assert_allclose(scores_NC[0], scores_NC[1], atol=1e-5)
        answer = Answer.of(loaded, scores_NC[1:])
    log = RequestLog(RequestLogConfig(folder=str(tmp_path / "log"), sample=1.0))
    log([of_12], answer, "")
    log.close()
    (logged,) = (tmp_path / "log").iterdir()
    assert check_image(of_12, max_pixels=10**6, depth=12).encoded in gzip.decompress(
        logged.read_bytes()
    )


def test_a_plain_file_that_tensorflow_refuses_is_answered_as_ingestion_reads_it(demo):
    """Its header is right, and its pixels go on after the last row."""
    samples = np.arange(64 * 24, dtype=np.uint16).reshape(64, 24) % 256
    data = bytearray(png(samples, 0, 8))
    data[20:24] = struct.pack(">I", 2)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    expected = check_image(bytes(data), max_pixels=10**6)
    assert expected.normalised
    with in_process(demo.serving) as service, service.repository.use(MODEL) as loaded:
        files = [PNG, bytes(data), expected.encoded]
        sizes = [count_pixels(file, 10**6) for file in files]
        scores_NC = loaded.submit(files, time.monotonic() + 60, pixels=sizes).result(60)
    np.testing.assert_allclose(scores_NC[1], scores_NC[2], atol=1e-5)
