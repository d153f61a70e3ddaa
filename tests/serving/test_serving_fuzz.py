"""Whatever is sent is decoded or refused; and over HTTP, as the OpenAPI document tells."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct

import numpy as np
import pytest
import schemathesis
from helpers import EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_server import in_process

from common.errors import ServingError
from common.images.errors import BadImage
from common.images.headers import count_pixels
from serving.app import create_app
from serving.config import LimitsConfig
from serving.errors import InvalidRequestError
from serving.protocols import numbers, signatures, v1, v2, v2_rest
from serving.protocols.base64_text import from_base64
from serving.protocols.json_reader import read_json_object

FUZZ = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
SHAPE = (2, 1, 3)

# --- The OpenAPI document


@pytest.fixture(scope="module")
def api(demo):
    with in_process(demo.serving) as service:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_documented(api, mode):
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @FUZZ
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def check(case, real):
            # Or nearly all requests would be for models that there are not.
            if real and not case.path.endswith("/unload"):
                names = [n for n in REAL if n in case.path_parameters]
                case.path_parameters.update({n: REAL[n] for n in names})
            case.call_and_validate(checks=CHECKS)

        try:
            check()
        except Unsatisfiable:  # what has no parameters cannot get them wrong
            assert mode is GenerationMode.NEGATIVE


REAL = {"name": "digits-keras", "version": 1, "number": "1"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


# --- JSON

json_numbers = st.one_of(
    st.integers(-2, 300), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3)
)
json_values = st.recursive(
    json_numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["b64", "images", "examples", "x"]), inner, max_size=2),
    ),
    max_leaves=20,
)


@EXAMPLES
@given(json_values)
def test_rows_and_columns_are_values_and_a_name_or_refused(value):
    for decode in (v1._rows, v1._columns):
        try:
            values, key = decode(value)
        except InvalidRequestError:
            continue
        assert isinstance(values, list)
        assert values or decode is v1._rows  # no rows are no images, which is said of all
        assert key is None or isinstance(key, str)


@EXAMPLES
@given(st.lists(json_values, max_size=3))
def test_pixels_are_numbers_of_the_shape_or_refused(values):
    try:
        decoded = numbers.pixels(values, SHAPE)
    except InvalidRequestError:
        return
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == values


@EXAMPLES
@given(st.data())
def test_pixels_are_what_was_sent(data):
    bad = data.draw(st.sampled_from([None, -1, 256, 0.5, True, "1", float("nan"), 10**400, [1]]))
    image = np.arange(12, dtype=np.uint8).reshape(2, *SHAPE)
    values = image.tolist()
    np.testing.assert_array_equal(numbers.pixels(values, SHAPE), image)
    np.testing.assert_array_equal(numbers.pixels(image.astype(float).tolist(), SHAPE), image)
    i, j, k, m = (data.draw(st.integers(0, n - 1)) for n in image.shape)
    if bad is None:
        del values[i][j][k][m]
    else:
        values[i][j][k][m] = bad
    with pytest.raises(InvalidRequestError):
        numbers.pixels(values, SHAPE)


def test_strings_take_no_room_for_each_other():
    """NumPy would make an array of 30 GB of these."""
    with pytest.raises(InvalidRequestError):
        numbers.pixels([[[["x" * 1_000_000, 0, 0]], [[0, 0, 0]]]] * 2000, SHAPE)


@EXAMPLES
@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)))
def test_json_is_an_object_or_refused(data):
    with contextlib.suppress(InvalidRequestError):
        assert isinstance(read_json_object(data, 256), dict)


@EXAMPLES
@given(st.binary(max_size=60), st.booleans())
def test_base64_is_what_was_sent(data, broken_into_lines):
    encode = base64.encodebytes if broken_into_lines else base64.b64encode
    assert from_base64(encode(data).decode(), 0) == data


@EXAMPLES
@given(st.binary(max_size=60), st.booleans(), st.booleans(), st.booleans())
def test_base64_is_what_was_sent_in_every_form_of_it(data, url_safe, unpadded, as_uri):
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    text = text.rstrip("=") if unpadded else text
    assert from_base64(f"data:image/png;base64,{text}" if as_uri else text, 0) == data


@EXAMPLES
@given(json_values)
def test_base64_is_text_or_refused(value):
    with contextlib.suppress(InvalidRequestError):
        assert isinstance(from_base64(value, 0), bytes)


# --- V2's binary form


def packed(values):
    return v2.Tensor("images", "BYTES", (len(values),), values).packed()


@EXAMPLES
@given(st.lists(st.binary(max_size=9), max_size=9))
def test_bytes_are_what_was_packed(values):
    assert v2.unpack_bytes(packed(values)) == values


@EXAMPLES
@given(st.one_of(st.binary(max_size=40), st.builds(
    lambda n, rest: struct.pack("<I", n) + rest, st.integers(0, 2**32 - 1), st.binary(max_size=20)
)))  # fmt: skip
def test_bytes_are_unpacked_whole_or_refused(data):
    with contextlib.suppress(InvalidRequestError):
        assert packed(v2.unpack_bytes(data)) == data


sides = st.one_of(st.integers(-1, 4), st.integers(-(2**63), 2**63 - 1))


@EXAMPLES
@given(
    st.sampled_from(["UINT8", "BYTES", "FP32", "", "nonsense"]),
    st.lists(sides, max_size=7).map(tuple),
    st.binary(max_size=24),
)
def test_tensors_fill_their_shape_or_are_refused(datatype, shape, data):
    try:
        tensor = v2.from_raw("images", datatype, shape, data)
        images = v2.images_of([tensor])
    except ServingError:
        return
    if datatype == "UINT8":
        assert images.shape == shape
        assert images.tobytes() == data
    else:
        assert datatype == "BYTES"
        assert shape[0] == len(images)


def test_a_shape_of_many_sides_costs_nothing():
    with pytest.raises(InvalidRequestError):
        v2.from_raw("images", "UINT8", (2**31,) * 1_000_000, b"")


def test_many_empty_values_are_refused_early():
    with pytest.raises(ServingError, match="values"):
        v2.unpack_bytes(bytes(4 * 5_000_000))


@EXAMPLES
@given(
    st.one_of(st.binary(max_size=30), json_values.map(lambda v: json.dumps(v).encode())),
    st.one_of(st.none(), st.integers(-3, 60).map(str), st.text(max_size=6), st.just("9" * 5000)),
)
def test_a_request_is_split_within_its_length_or_refused(data, length):
    try:
        body, binary = v2_rest._split(data, length, LimitsConfig())
    except InvalidRequestError:
        return
    assert isinstance(body, dict)
    assert len(binary) == (len(data) - int(length) if length is not None else 0)


# --- Protobuf


@EXAMPLES
@given(st.lists(st.one_of(st.none(), st.binary(max_size=12)), max_size=4))
def test_examples_give_their_images_or_are_refused(images):
    from tensorflow.core.example import example_pb2

    serialised = []
    for image in images:
        example = example_pb2.Example()
        if image is not None:
            example.features.feature["image/encoded"].bytes_list.value.append(image)
        serialised.append(example.SerializeToString())
    if None in images:
        with pytest.raises(InvalidRequestError, match="got 0"):
            signatures.images_of_examples(serialised)
    else:
        assert signatures.images_of_examples(serialised) == images


@EXAMPLES
@given(st.binary(max_size=40))
def test_bytes_that_are_no_example_are_refused(data):
    try:
        (image,) = signatures.images_of_examples([data])
        assert image in data
    except InvalidRequestError:
        pass


@EXAMPLES
@given(st.data())
def test_tensor_protos_are_pixels_or_refused(data):
    from tensorflow.core.framework import tensor_pb2

    from serving.protocols.tfs_grpc import _pixels

    tensor = tensor_pb2.TensorProto(
        dtype=data.draw(st.sampled_from([0, 1, 2, 3, 4, 7, 9, 10, 99])),
        tensor_content=data.draw(st.sampled_from([b"", b"\x01" * 6, b"\x01" * 24, b"\x01" * 7])),
        int_val=data.draw(st.lists(st.integers(-5, 300), max_size=7)),
        int64_val=data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=7)),
        float_val=data.draw(st.lists(st.floats(width=32), max_size=7)),
    )
    dims = data.draw(st.one_of(st.just([1, *SHAPE]), st.lists(sides, max_size=5)))
    for side in dims:
        tensor.tensor_shape.dim.add(size=side)
    try:
        decoded = _pixels(tensor, SHAPE)
    except InvalidRequestError:
        return
    assert decoded.shape == tuple(dims)
    assert decoded.dtype == np.uint8


# --- Images


def image_file(kind, width=5, height=4, frames=1):
    out = io.BytesIO()
    images = [Image.new("L", (width, height), 99 + n % 2) for n in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(out, kind, **more)
    return out.getvalue()


KINDS = {
    "PNG": 20, "JPEG": 20, "GIF": 20, "BMP": 20, "TIFF": 20, "WEBP": 20, "PPM": 20, "TGA": 20,
    "AVIF": 20, "JPEG2000": 20, "DIB": 20, "MPO": 20,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_counted_without_decoding(kind):
    encoded = image_file(kind)
    assert count_pixels(encoded, 100) == KINDS[kind]
    if kind not in ("WEBP", "AVIF", "TIFF"):
        assert count_pixels(encoded[:-4], 100) == KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_large_is_counted_or_refused_by_its_header(kind):
    try:
        assert count_pixels(image_file(kind, 90, 90), 8000) == 8100
    except BadImage as e:
        assert e.reason == "too-large"


def test_of_a_gif_the_first_frame_counts():
    animated = image_file("GIF", 10, 10, frames=7)
    assert Image.open(io.BytesIO(animated)).n_frames == 7
    assert count_pixels(animated, 1000) == 100


@pytest.mark.parametrize("data", [b"", b"Hello", b"<svg/>", image_file("ICO")])
def test_what_is_no_image_is_not_counted(data):
    with pytest.raises(BadImage):
        count_pixels(data, 1000)


@EXAMPLES
@given(st.sampled_from([*KINDS]), st.data())
def test_broken_images_are_counted_or_refused(kind, data):
    encoded = bytearray(image_file(kind, frames=3 if kind == "GIF" else 1))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    with contextlib.suppress(BadImage):
        assert count_pixels(bytes(cut), 1000) >= 0
