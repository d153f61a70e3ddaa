"""Images as clients send them: base64 of every kind, packed bodies, and what is wrong with which.

The same refusal in every protocol.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib

import grpc
import numpy as np
import pytest
from PIL import Image
from serving_server import b64, example
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

MODEL = "digits-keras"
PREDICT = f"/v1/models/{MODEL}:predict"
INFER = f"/v2/models/{MODEL}/infer"

pytestmark = pytest.mark.usefixtures("still_fine")


def v2_body(*texts):
    tensor = {"name": "images", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [tensor]}


def v1_body(*texts):
    return {"instances": [{"b64": text} for text in texts]}


BODIES = {PREDICT: v1_body, INFER: v2_body}


def scores(answer):
    """Of the images in either protocol's answer."""
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if "predictions" in found:
        return np.array([row["scores"] for row in found["predictions"]])
    tensor = next(o for o in found["outputs"] if o["name"] == "scores")
    return np.reshape(tensor["data"], tensor["shape"])


def error(answer, status=400):
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


# --- Base64


def photo(kind="JPEG", **options):
    """Noise, whose base64 has every character."""
    pixels = np.random.default_rng(7).integers(0, 256, (200, 201, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("path", BODIES)
def test_base64_is_understood_as_clients_write_it(rest, path):
    data = photo()
    while len(data) % 3 == 0:
        data += b"\0"  # after a JPEG's end anything may stand
    text, url_safe = b64(data)["b64"], base64.urlsafe_b64encode(data).decode()
    assert text[-1] == "=" and "+" in text and "/" in text
    forms = {
        "unpadded": text.rstrip("="),
        "URL-safe": url_safe,
        "URL-safe and unpadded": url_safe.rstrip("="),
        "in lines": base64.encodebytes(data).decode(),
        "in lines, unpadded": base64.encodebytes(data).decode().rstrip("\n="),
        "indented": base64.encodebytes(data).decode().replace("\n", "\r\n    "),
        "a data URI": f"data:image/jpeg;base64,{text}",
        "a data URI of no type": f"data:;base64,{text}",
        "a data URI with a parameter": f"DATA:image/jpeg;charset=utf-8;base64,{url_safe}",
    }
    found = scores(rest.post(path, json=BODIES[path](text, *forms.values())))
    for name, row in zip(forms, found[1:], strict=True):
        np.testing.assert_array_equal(row, found[0], err_msg=name)


NOT_BASE64 = {
    "a + that a form took for a blank": (lambda text: text.replace("+", " "), "spaces in it"),
    "two alphabets": (lambda text: text.replace("+", "-", 1), "two alphabets"),
    "a character is missing": (lambda text: text[: len(text) // 4 * 4 - 3], "missing"),
    "a data URI without base64": (lambda text: "data:image/png,%89PNG", "data URI in base64"),
    "a path": (lambda text: "photos/cat.jpg", "opens no paths and addresses"),
    "a path of Windows": (lambda text: "C:\\photos\\cat.jpg", "opens no paths and addresses"),
    "an address": (lambda text: "https://example.com/a?b=c", "opens no paths and addresses"),
    "another text": (lambda text: "<image>", "expected base64"),
    "encoded twice": (lambda text: b64(text.encode())["b64"], "not twice"),
    "nothing": (lambda text: "", "empty"),
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("kind", NOT_BASE64)
def test_what_is_not_base64_is_named_with_its_place(rest, path, kind):
    data = photo()
    while len(data) % 3 == 0:
        data += b"\0"
    text = b64(data)["b64"]
    broken, why = NOT_BASE64[kind]
    told = error(rest.post(path, json=BODIES[path](text, broken(text), text)))
    assert told.startswith("Image 1: ") and why in told


def test_a_bare_text_gets_the_remedy(rest, of_model):
    text = b64(of_model[0].encoded)["b64"]
    remedy = f'{{"b64": "{text[:12]}…"}}'
    for body in (
        {"instances": [text]},
        {"instances": [{"images": text}]},
        {"signature_name": "serving_bytes", "instances": [b64(of_model[0].encoded), text]},
        {"instances": text},
        {"inputs": text},
        {"inputs": [text]},
        {"inputs": {"images": text}},
        {"instances": [f"data:image/png;base64,{text}"]},
    ):
        told = error(rest.post(PREDICT, json=body))
        assert remedy in told or '{"b64": "data:image/p…"}' in told, body
    for body in ({"instances": b64(b"x")}, {"inputs": b64(b"x")}):
        assert "list" in error(rest.post(PREDICT, json=body))
    assert "the text 'cat.jpg'" in error(rest.post(PREDICT, json={"instances": ["cat.jpg"]}))


def test_v1s_form_of_base64_is_understood_in_v2(rest, of_model):
    sample = of_model[3]
    found = rest.post(INFER, json=v2_body(b64(sample.encoded)))
    assert scores(found)[0].argmax() == sample.indices[0]


def test_an_image_file_in_place_of_json_gets_the_remedy(rest, of_model):
    for path in (PREDICT, INFER):
        for data in (of_model[0].encoded, photo(), photo("GIF"), photo("WEBP")):
            assert "/predict" in error(rest.post(path, content=data))


# --- Packed bodies


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def test_packed_bodies_are_unpacked_whole(rest, of_model):
    sample = of_model[5]
    body = json.dumps(v1_body(b64(sample.encoded)["b64"])).encode()
    for encoding, packed in (
        ("gzip", gzip.compress(body[:99]) + gzip.compress(body[99:])),
        ("gzip", b"".join(gzip.compress(body[i : i + 1]) for i in range(len(body)))),
        ("x-gzip", gzip.compress(body)),
        ("GZIP", gzip.compress(body) + bytes(512)),
        ("deflate", zlib.compress(body)),
        ("deflate", raw_deflate(body)),
        ("identity", body),
        ("", body),
    ):
        answer = rest.post(PREDICT, content=packed, headers={"content-encoding": encoding})
        assert scores(answer)[0].argmax() == sample.indices[0], encoding


def test_packed_bodies_that_are_broken_or_too_large_are_refused(rest):
    body = b'{"instances": []}'
    many = gzip.compress(b" ") * 5000
    for encoding, packed, status, why in (
        ("gzip", gzip.compress(body) + gzip.compress(b" ")[:-4], 400, "cut off"),
        ("gzip", gzip.compress(body)[:-4], 400, "cut off"),
        ("gzip", gzip.compress(body) + b"more", 400, "4 bytes more"),
        ("deflate", raw_deflate(body) + b"more", 400, "4 bytes more"),
        ("gzip", body, 400, "packed with gzip"),
        ("gzip", many, 413, "members"),
        ("gzip", gzip.compress(bytes(10**6)) * 40, 413, "33,554,432"),
        ("br", body, 415, "got 'br'"),
        ("", gzip.compress(body), 400, "Content-Encoding: gzip"),
    ):
        headers = {"content-encoding": encoding} if encoding else {}
        answer = rest.post(PREDICT, content=packed, headers=headers)
        assert why in error(answer, status)


# --- Which image is broken, and why


def cut(data):
    return data[: len(data) * 2 // 3]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
BROKEN = {
    "a JPEG cut off": (cut(photo()), "cut off"),
    "a PNG cut off": (cut(photo("PNG")), "cut off"),
    "a WebP cut off": (cut(photo("WEBP", lossless=True)), "cut off"),
    "a GIF cut off": (cut(photo("GIF")), "cut off"),
    "a BMP cut off": (cut(photo("BMP")), "cut off"),
    "a TIFF cut off": (cut(photo("TIFF")), "cut off"),
    "a JPEG cut off in its head": (photo()[:100], "cut off"),
    "a PNG cut off in its head": (photo("PNG")[:20], "cut off"),
    "a PDF": (b"%PDF-1.7\n1 0 obj", "got a PDF document"),
    "a web page": (b"<!doctype html><title>404</title>", "got a web page"),
    "a drawing": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "got an SVG drawing"),
    "an archive": (b"PK\x03\x04" + bytes(60), "got a ZIP archive"),
    "a HEIC": (HEIC, "HEIC"),
    "nothing": (b"", "empty"),
    "base64": (base64.b64encode(photo()), "got a text in base64"),
    "anything": (b"\x07\x08\x09 nothing", "bytes that are none"),
}


PROTOCOLS = ("v1", "v2", "v2-grpc", "tfs-grpc")


def asked(server, rest, protocol, images):
    """What a protocol answers where one of the images is broken: the sentence."""
    texts = [b64(i)["b64"] for i in images]
    if protocol == "v1":
        body = {"signature_name": "serving_bytes", **v1_body(*texts)}
        return error(rest.post(PREDICT, json=body))
    if protocol == "v2":
        return error(rest.post(INFER, json=v2_body(*texts)))
    with grpc.insecure_channel(server.grpc) as channel:
        if protocol == "v2-grpc":
            request = service_pb2.ModelInferRequest(model_name=MODEL)
            request.inputs.add(name="images", datatype="BYTES", shape=[len(images)])
            request.inputs[0].contents.bytes_contents.extend(images)
            call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        else:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL
            request.model_spec.signature_name = "serving_bytes"
            tensor = request.inputs["images"]
            tensor.dtype = 7
            tensor.tensor_shape.dim.add(size=len(images))
            tensor.string_val.extend(images)
            call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=30)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        return caught.value.details()


@pytest.mark.parametrize("kind", BROKEN)
def test_which_image_is_broken_and_why_in_every_protocol(server, rest, of_model, kind):
    good = of_model[0].encoded
    data, why = BROKEN[kind]
    found = {p: asked(server, rest, p, [good, good, data, good]) for p in PROTOCOLS}
    assert len(set(found.values())) == 1, found
    assert found["v1"].startswith("Image 2: ") and why in found["v1"]
    raw = {"inference-header-content-length": "0"}
    for answer in (
        rest.post(f"/predict?model={MODEL}", content=data),
        rest.post(INFER, content=data, headers=raw),
    ):
        assert error(answer) == found["v1"].replace("Image 2", "Image 0")


def test_an_example_whose_image_is_broken_is_named(rest, of_model):
    good = example(of_model[0])
    broken = example(of_model[0])
    broken.features.feature["image/encoded"].bytes_list.value[0] = b"%PDF-1.7"
    body = {"instances": [b64(e.SerializeToString()) for e in (good, broken)]}
    assert "Image 1: " in error(rest.post(PREDICT, json=body))


def test_so_many_classes_are_asked_for(rest, of_model):
    for top in ("0", "-1", "x"):
        told = error(rest.post(f"/predict?model={MODEL}&top={top}", content=of_model[0].encoded))
        assert told.startswith("top: ")
    answer = rest.post(f"/predict?model={MODEL}&top=99", content=of_model[0].encoded)
    assert len(answer.json()["classes"]) == 10
