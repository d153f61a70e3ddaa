"""The file of a form, however the body falls into steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidRequestError
from serving.protocols import form

pytestmark = pytest.mark.quick

TYPE = "multipart/form-data; boundary=b"
HEAD = b'Content-Disposition: form-data; name="image"; filename="7.png"'


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "before",
    [b"", b"preamble\r\n", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'],
)
def test_a_file_is_found(monkeypatch, step, before):
    monkeypatch.setattr(form, "_STEP", step)
    file = b"\r\n-\r\n--\r\n--a" * 5
    assert (
        form.first_file(before + b"--b\r\n%b\r\n\r\n%b\r\n--b--\r\n" % (HEAD, file), TYPE) == file
    )
    with pytest.raises(InvalidRequestError, match="cut off"):
        form.first_file(before + b"--b\r\n%b\r\n\r\n%b" % (HEAD, file), TYPE)


@given(
    st.binary(max_size=40).map(lambda b: bytes(c % 3 for c in b)),
    st.integers(0, 45),
    st.integers(1, 9),
)
def test_steps_find_what_one_search_finds(body, start, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "_STEP", step)
        for text in (b"\0", b"\0\1", b"\1\1\2"):
            assert form._find(body, text, start) == body.find(text, start)
