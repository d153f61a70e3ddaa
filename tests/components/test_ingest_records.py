"""Records side by side, and the digests that name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.digest import file_digest, image_digest
from components.example_gen.records import Record, Records, Shard

pytestmark = pytest.mark.quick

_texts = st.sampled_from(["", "cat", "žába", 'a "quoted" \\ one'])
records = st.lists(
    st.builds(
        Record,
        path=st.binary(max_size=12),
        label=_texts,
        split=st.sampled_from([None, "train", "val"]),
        extra=st.sampled_from([(), (("camera", "left"),), (("camera", ""), ("x", "y"))]),
        hint=_texts,
    ),
    max_size=30,
)


@given(records)
def test_they_are_a_sequence_of_what_they_were_made_of(given: list[Record]) -> None:
    kept = Records(given)
    assert list(kept) == given and len(kept) == len(given)
    assert [kept[n] for n in range(-len(given), len(given))] == [*given, *given]
    assert list(kept[1:-1:2]) == given[1:-1:2]
    for outside in (len(given), -len(given) - 1):
        with pytest.raises(IndexError):
            kept[outside]


def test_digests_are_those_of_older_runs() -> None:
    """They are recorded, and compared with those of today."""
    record = Record(
        path=b'a "b"\\\xff.png', label="žába", split="train", extra=(("b", ""), ("a", "x"))
    )
    sha = "0123456789abcdef" * 4
    assert (
        file_digest(record, sha).hex()
        == "cce5a055e0d0eeee5a8fda1fb0040bbe8859d4d566bcf5f3932b04558306006f"
    )
    assert (
        image_digest(record, sha).hex()
        == "d5450017699785de75de5d37e2fcca9a355205e5580f768c1e0d8054155db484"
    )
    shard = Shard(path=b"x.tar", split="val", names=("one", "two"))
    assert (
        file_digest(shard, sha).hex()
        == "f98b90c43a63879dc3aa447af07524d52ced3bef297055b285dd977b554a7e74"
    )
