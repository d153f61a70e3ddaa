"""JSON a window at a time: as the standard library reads it, within limits."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from helpers import EXAMPLES
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ServingError
from serving.errors import InvalidRequestError, TooLargeError
from serving.protocols import json_reader, numbers
from serving.protocols.json_reader import MOST, read_json_object

pytestmark = pytest.mark.quick

SHAPE = (4, 6, 3)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(0, 255), st.text(max_size=12), st.just('a\\"]},[{')
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=30,
)
texts = st.builds(
    lambda value, indent, ascii: json.dumps(value, indent=indent, ensure_ascii=ascii),
    st.dictionaries(st.text(max_size=4), values, max_size=5),
    st.sampled_from([None, 1]),
    st.booleans(),
)


def plain(value):
    """Arrays as the lists they were."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


@contextmanager
def tiny_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "WINDOW", 24)
        patch.setattr(json_reader, "_DEPTH", 1000)
        yield


@EXAMPLES
@given(texts)
def test_it_reads_what_the_standard_library_reads(text):
    try:
        with tiny_windows():
            found = read_json_object(text.encode("utf-8", "surrogatepass"), 256)
    except InvalidRequestError as e:
        assert "string" in str(e)  # long ones are base64
        return
    assert plain(found) == json.loads(text)


@EXAMPLES
@given(texts, st.data())
def test_it_refuses_what_the_standard_library_refuses(text, data):
    at = data.draw(st.integers(0, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(["", ",", "]", "}", '"', ":", "[", "x", "\\"]))
    broken += text[at + data.draw(st.integers(0, 2)) :]
    try:
        expected = json.loads(broken)
    except ValueError:
        expected = None
    try:
        with tiny_windows():
            found = plain(read_json_object(broken.encode("utf-8", "surrogatepass"), 256))
    except InvalidRequestError as e:
        assert not isinstance(expected, dict) or "string" in str(e)
        return
    assert found == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings_are_read_as_before(encoding):
    body = json.dumps({"a": "ü" * 10, "b": [0] * json_reader.WINDOW}, ensure_ascii=False)
    assert plain(read_json_object(body.encode(encoding), 256)) == json.loads(body)


@pytest.mark.parametrize("shape", [(300, *SHAPE), (2, 90, 80, 3), (1, 3, 30_000, 3)])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("kind", [int, float])
def test_large_pixels_become_bytes(shape, named, kind):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    rows = pixels.astype(kind).tolist()
    body = json.dumps({"instances": [{"images": r} for r in rows] if named else rows}).encode()
    assert len(body) > json_reader.WINDOW
    found = read_json_object(body, 256)["instances"]
    if named:
        found = [row["images"] for row in found]
    decoded = numbers.pixels(found, shape[1:])
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("bad", [-1, 256, 0.5, True, "1", 10**400, [1], None, float("nan")])
@pytest.mark.parametrize("at", [0, 299])
def test_large_lists_of_what_is_no_pixel_are_refused(bad, at):
    rows = np.zeros((300, *SHAPE), int).tolist()
    rows[at][1][2][0] = bad
    with pytest.raises(InvalidRequestError):
        numbers.pixels(read_json_object(json.dumps({"a": rows}).encode(), 256)["a"], SHAPE)


MANY = 10_000_000
MUCH = {
    "empty lists": b'{"instances": [' + b"[]," * MANY + b"[]]}",
    "empty lists in rows": b'{"a": [' + (b'{"b": [' + b"[]," * 20_000 + b"1]},") * 500 + b"1]}",
    "empty objects": b'{"instances": [' + b"{}," * MANY + b"{}]}",
    "nulls": b'{"instances": [' + b"null," * (MANY // 2) + b"0]}",
    "strings": b'{"inputs": [' + b'"",' * MANY + b"0]}",
    "keys": b"{" + b",".join(b'"%d":1' % i for i in range(MANY // 10)) + b"}",
}


@pytest.mark.parametrize("body", MUCH.values(), ids=MUCH)
def test_more_than_any_request_needs_is_refused_before_there_is_room_for_it(body):
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="at most 256 images and 65,536"):
            read_json_object(body, 256)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


NO_JSON = {
    "deep lists": b"[" * 20_000_000,
    "deep objects": b'{"a":' * 4_000_000,
    "a long number": b'{"a": ' + b"1" * 20_000_000 + b"}",
    "many long numbers": b'{"a": [' + b",".join([b"1" * 5000] * 4000) + b"]}",
    "a long string without end": b'{"a": "' + b"x" * 20_000_000,
    "escapes": b'{"a": "' + b"\\n" * 10_000_000 + b'"}',
    "quotes": b'{"a": "' + b'\\"' * 10_000_000,
    "backslashes": b'{"a": "' + b"\\" * 20_000_001,
    "commas": b'{"a": [' + b"," * 20_000_000 + b"]}",
    "spaces": b" " * 20_000_000,
    "spaces within": b'{"a": [' + b" " * 20_000_000 + b"1]}x",
    "no text": b"\xff" * 20_000_000,
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_long_and_none_is_refused(body):
    with pytest.raises(ServingError):
        read_json_object(body, 256)


def test_base64_of_megabytes_is_read_with_the_escapes_that_some_write():
    text = "/+aZ" * 1_000_000
    for written in (text, text[:4000].replace("/", "\\/") + text[4000:]):
        began = time.perf_counter()
        found = read_json_object(b'{"instances": [{"b64": "%b"}]}' % written.encode(), 256)
        assert found == {"instances": [{"b64": text}]}
        assert time.perf_counter() - began < 30


def test_many_values_that_are_few_enough_are_read():
    body = json.dumps({"outputs": [{"name": "scores"}] * (MOST // 4)}).encode()
    assert len(read_json_object(body, 256)["outputs"]) == MOST // 4
