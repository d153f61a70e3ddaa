"""Hostile requests over HTTP: a clear refusal, and the next one is answered."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from serving_server import b64

MODEL = "digits-keras"
PREDICT = f"/v1/models/{MODEL}:predict"
INFER = f"/v2/models/{MODEL}/infer"


def refused(response, *statuses):
    """A refusal in JSON, of a sentence and not of a page."""
    assert response.status_code in (statuses or (400,)), response.text[:500]
    (error,) = response.json().values()
    assert response.headers["content-type"] == "application/json"
    assert 5 < len(error) < 700
    assert "Traceback" not in error
    return error


def image_file(kind, width, height, frames=1, **options):
    out = io.BytesIO()
    images = [Image.new("RGB", (width, height), (n % 2, 80, 9)) for n in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(out, kind, **more, **options)
    return out.getvalue()


def png_header(width, height):
    """A PNG that announces a size, and has nearly no pixels."""

    def chunk(kind, data):
        content = kind + data
        return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10)))
    return b"\x89PNG\r\n\x1a\n" + size + pixels + chunk(b"IEND", b"")


pytestmark = pytest.mark.usefixtures("still_fine")

# --- Bodies

NO_OBJECT = [
    b"",
    b"{",
    b"nonsense",
    b"[1]",
    b"null",
    b'"instances"',
    b"\xff\xfe\x00",
    b'{"instances": [NaN',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"1" * 10_000,
]


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize("body", NO_OBJECT, ids=range(len(NO_OBJECT)))
def test_what_is_no_json_object_is_refused(rest, path, body):
    assert "JSON object" in refused(rest.post(path, content=body))


ZEROS = np.zeros((16, 16, 3), int).tolist()
WRONG_ROWS = {
    "nothing": {},
    "both": {"instances": [ZEROS], "inputs": [ZEROS]},
    "no list": {"instances": 5},
    "no row": {"instances": []},
    "null": {"instances": None},
    "rank": {"instances": [0]},
    "text": {"instances": ["text"]},
    "strings": {"instances": [[[["x" * 10_000] * 3] * 16] * 16]},
    "shape": {"instances": [[[[0, 0, 0]]]]},
    "ragged": {"instances": [[*ZEROS[:15], ZEROS[0][:3]]]},
    "deep": {"instances": [[[[[[[[[[[[]]]]]]]]]]]]},
    "boolean": {"instances": [[[[True] * 3] * 16] * 16]},
    "negative": {"instances": [[[[-1] * 3] * 16] * 16]},
    "too large": {"instances": [[[[256] * 3] * 16] * 16]},
    "fraction": {"instances": [[[[0.5] * 3] * 16] * 16]},
    "huge": {"instances": [[[[10**400] * 3] * 16] * 16]},
    "mixed rows": {"instances": [ZEROS, b64(b"x")]},
    "two inputs": {"instances": [{"images": ZEROS, "more": 1}]},
    "unknown input": {"instances": [{"pictures": ZEROS}]},
    "other signature": {"signature_name": "serving_bytes", "instances": [ZEROS]},
    "no signature": {"signature_name": "\ud800", "instances": [ZEROS]},
    "decode": {"signature_name": "decode_images", "instances": [b64(b"x")]},
    "signature of numbers": {"signature_name": 5, "instances": [ZEROS]},
    "no base64": {"instances": [{"b64": "…"}]},
    "base64 of a number": {"instances": [{"b64": 7}]},
    "cut base64": {"instances": [{"b64": "abc"}]},
    "no image": {"signature_name": "serving_bytes", "instances": [b64(b"text")]},
    "no example": {"instances": [b64(b"\xff\xff\xff")]},
    "empty example": {"instances": [b64(b"")]},
    "columns of no list": {"inputs": {"images": 3}},
    "no column": {"inputs": {}},
}


@pytest.mark.parametrize("body", WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_wrong_rows_and_columns_are_refused(rest, body):
    refused(rest.post(PREDICT, content=json.dumps(body)))


def test_nan_and_infinity_are_refused(rest):
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        row = json.dumps(ZEROS).replace("0", number, 1)
        refused(rest.post(PREDICT, content=f'{{"instances": [{row}]}}'))


def test_of_a_key_that_is_there_twice_the_last_counts(rest):
    rows = json.dumps([ZEROS])
    answer = rest.post(PREDICT, content=f'{{"instances": 5, "instances": {rows}}}')
    assert len(answer.json()["predictions"]) == 1


def tensor(**changes):
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": [0] * 768}
    return {"inputs": [{**given, **changes}]}


WRONG_TENSORS = {
    "no inputs": {},
    "no list": {"inputs": {}},
    "no object": {"inputs": [1]},
    "no input": {"inputs": []},
    "two": {"inputs": tensor()["inputs"] * 2},
    "no name": {"inputs": [{"datatype": "UINT8", "shape": [1], "data": [0]}]},
    "other name": tensor(name="\ud800" * 1000),
    "other type": tensor(datatype="FP32"),
    "no type": tensor(datatype=None),
    "negative side": tensor(shape=[-1, 16, 16, 3]),
    "boolean side": tensor(shape=[True, 16, 16, 3]),
    "huge side": tensor(shape=[2**70, 16, 16, 3]),
    "many sides": tensor(shape=[1] * 100_000),
    "no images": tensor(shape=[0, 16, 16, 3], data=[]),
    "little data": tensor(data=[0]),
    "ragged": tensor(data=[[0, 0], [0]]),
    "nested otherwise": tensor(data=[[0] * 768]),
    "other data": tensor(data=["x"] * 768),
    "no data": tensor(data=None),
    "huge number": tensor(data=[10**400] * 768),
    "base64": tensor(datatype="BYTES", shape=[1], data=["…"]),
    "count": tensor(datatype="BYTES", shape=[2], data=["YQ=="]),
    "binary size": tensor(parameters={"binary_data_size": 5}),
    "negative binary size": tensor(parameters={"binary_data_size": -1}),
    "id": {**tensor(), "id": {"a": 1}},
    "outputs": {**tensor(), "outputs": [{"name": "other"}]},
    "outputs of numbers": {**tensor(), "outputs": [5]},
    "an output often": {**tensor(), "outputs": [{"name": "scores"}] * 10_000},
}


@pytest.mark.parametrize("body", WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_wrong_tensors_are_refused(rest, body):
    refused(rest.post(INFER, content=json.dumps(body)))


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000, "10000", "٣"])
def test_a_wrong_length_of_the_head_is_refused(rest, length):
    header = {"inference-header-content-length": length.encode()}
    refused(rest.post(INFER, content=json.dumps(tensor()), headers=header))


def test_bodies_over_the_limit_are_refused(rest, server):
    for headers in ({}, {"content-encoding": "gzip"}):
        refused(rest.post(PREDICT, content=bytes(33 * 2**20), headers=headers), 413)
    chunks = (bytes(2**20) for _ in range(33))
    refused(rest.post(f"/predict?model={MODEL}", content=chunks), 413)


def test_a_packed_body_is_unpacked_up_to_the_limit(rest):
    gzip = {"content-encoding": "gzip"}
    bomb = zlib.compress(bytes(2**30), 9)
    refused(rest.post(PREDICT, content=bomb, headers=gzip), 413)
    refused(rest.post(PREDICT, content=bomb[:1000], headers=gzip))
    refused(rest.post(PREDICT, content=b"nonsense", headers=gzip))
    refused(rest.post(PREDICT, content=b"{}", headers={"content-encoding": "br"}), 415)


def test_too_many_images_are_refused_before_they_are_looked_at(rest):
    for body in (
        {"instances": [{"b64": ""}] * 300},
        {"instances": [ZEROS] * 300},
        {"instances": [{"b64": ""}] * 2_000_000},
    ):
        assert "256" in refused(rest.post(PREDICT, content=json.dumps(body)), 413)
    many = tensor(datatype="BYTES", shape=[3_000_000], data=[""] * 3_000_000)
    assert "256" in refused(rest.post(INFER, content=json.dumps(many)), 413)


# --- Images

BAD_IMAGES = {
    "empty": b"",
    "text": b"Hello",
    "cut PNG": image_file("PNG", 40, 40)[:-30],
    "cut JPEG header": image_file("JPEG", 40, 40)[:60],
    "PNG of few pixels": png_header(40, 40),
    "cut WebP": image_file("WEBP", 40, 40)[:-30],
    "cut TIFF": image_file("TIFF", 40, 40)[:-30],
    "ICO": image_file("ICO", 16, 16),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "GIF without frames": b"GIF89a\x04\x00\x04\x00\x00\x00\x00;",
    "no size": png_header(0, 0),
}


@pytest.mark.parametrize("data", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_what_is_no_image_is_refused(rest, data):
    refused(rest.post(f"/predict?model={MODEL}", content=data))
    rows = [b64(image_file("PNG", 4, 4)), b64(data)]
    refused(rest.post(PREDICT, json={"signature_name": "serving_bytes", "instances": rows}))


LARGE_IMAGES = {
    "bomb by header": png_header(100_000, 100_000),
    "largest header": png_header(2**31 - 1, 2**31 - 1),
    "bomb": image_file("PNG", 8000, 8000),
    "GIF bomb": image_file("GIF", 8000, 8000),
}


@pytest.mark.parametrize("data", LARGE_IMAGES.values(), ids=LARGE_IMAGES)
def test_images_of_too_many_pixels_are_refused(rest, data):
    assert "50,000,000" in refused(rest.post(f"/predict?model={MODEL}", content=data), 413)


def test_images_of_too_many_pixels_together_are_refused(rest):
    rows = [b64(image_file("PNG", 3000, 3000))] * 30
    assert "200,000,000" in refused(rest.post(PREDICT, json={"instances": rows}), 413)


GOOD_IMAGES = {
    "one pixel": image_file("PNG", 1, 1),
    "a line": image_file("PNG", 3000, 1),
    "animation": image_file("GIF", 20, 20, frames=4),
    "large animation": image_file("GIF", 2000, 2000, frames=20),
    "BMP": image_file("BMP", 9, 9),
    "progressive": image_file("JPEG", 40, 40, progressive=True),
    "data after the end": image_file("PNG", 9, 9) + bytes(1000),
}


@pytest.mark.parametrize("data", GOOD_IMAGES.values(), ids=GOOD_IMAGES)
def test_unusual_images_are_answered(rest, data):
    assert rest.post(f"/predict?model={MODEL}", content=data).status_code == 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_png_is_answered(rest, mode):
    out = io.BytesIO()
    Image.new(mode, (8, 8)).save(out, "PNG")
    answer = rest.post(f"/predict?model={MODEL}", content=out.getvalue())
    assert answer.status_code == 200, answer.text


def test_forms_without_a_file_are_refused(rest):
    at = f"/predict?model={MODEL}"
    form = "multipart/form-data"
    refused(rest.post(at, data={"a": "b"}, files={}), 400)
    refused(rest.post(at, content=b"x", headers={"content-type": form}))
    refused(rest.post(at, content=b"x", headers={"content-type": f"{form}; boundary=a"}))
    cut = b'--a\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nabc'
    refused(rest.post(at, content=cut, headers={"content-type": "Multipart/Form-Data; boundary=a"}))
    refused(rest.post(at, files=[(f"f{i}", b"x") for i in range(10)]))


# --- Names

TRICKS = [
    "..", "../..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2f..", "%5c..%5c", "%00",
    f"{MODEL}%00", f"{MODEL}%2f1", f"{MODEL}/../{MODEL}", ".", "%20", "%F0%9F%98%80", "%ff%fe",
    "%ed%a0%80", "a" * 5000, "*", "labels.json", ".latest", "%3Cscript%3E", "%25", "constructor",
]  # fmt: skip


@pytest.mark.parametrize("name", TRICKS, ids=range(len(TRICKS)))
def test_names_lead_nowhere(server, name):
    """By a client that does not tidy paths."""
    import http.client

    host, port = server.host.split(":")
    for method, path in (
        ("GET", f"/v1/models/{name}"),
        ("GET", f"/v1/models/{name}/versions/1"),
        ("GET", f"/v1/models/{MODEL}/labels/{name}"),
        ("POST", f"/v1/models/{name}:predict"),
        ("GET", f"/v2/models/{name}"),
        ("GET", f"/v2/models/{MODEL}/versions/{name}"),
        ("POST", f"/v2/models/{name}/infer"),
        ("POST", f"/v2/repository/models/{name}/load"),
        ("POST", f"/v2/repository/models/{name}/unload"),
        ("POST", f"/predict?model={name}"),
    ):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request(method, path, b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        assert 400 <= answer.status < 500, (method, path, found)
        assert list(found) == ["error"]
        assert "passwd" not in found["error"] or "No model" in found["error"]


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "1e0", "9" * 30, "latest", "0x1", "%20"])
def test_versions_that_are_none_are_refused(rest, version):
    for protocol in ("v1", "v2"):
        refused(rest.get(f"/{protocol}/models/{MODEL}/versions/{version}"), 400, 404)
    refused(rest.post(f"/predict?model={MODEL}&version={version}", content=b"x"), 400, 404)


def test_other_methods_are_refused(rest):
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        for path in (PREDICT, INFER, "/predict", "/readyz", "/", f"/v1/models/{MODEL}"):
            refused(rest.request(method, path), 405)
