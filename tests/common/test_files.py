"""Files are whole or absent; digests see content and not its order."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest
from helpers import EXAMPLES, largest_file, start_python
from hypothesis import given
from hypothesis import strategies as st

from common.files import (
    checksums,
    digest,
    read_json,
    tree_digest,
    walk_files,
    write_atomic,
    write_json,
)

pytestmark = pytest.mark.quick

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=8,
)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    with largest_file(1000), pytest.raises(OSError, match="File too large"):
        write_atomic(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "a.json"
    code = (
        "import sys; from pathlib import Path; from common.files import write_json\n"
        "for i in range(10**9): write_json(Path(sys.argv[1]), [i] * (1 + i % 7) * 2000)"
    )
    with start_python("-c", code, str(path)) as writer:
        while not path.exists():
            assert writer.poll() is None
        seen = set()
        while len(seen) < 20:
            (number,) = set(json.loads(path.read_text()))
            seen.add(number)
        writer.kill()


def test_json_is_read_back_in_any_script(tmp_path):
    value = {"größe": [1, 2.5, None], "a": {"猫": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "猫" in (tmp_path / "a.json").read_text("utf-8")


@EXAMPLES
@given(st.dictionaries(st.text(), values), st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_the_order_of_keys(value, rng):
    items = list(value.items())
    rng.shuffle(items)
    assert digest(dict(items)) == digest(value)


@EXAMPLES
@given(values, values)
def test_different_values_have_different_digests(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_a_tree_s_digest_is_of_paths_and_contents(tmp_path):
    names = ["b", "a/b", "a/c/d", "a.b", "ä"]
    for root, seed in (("one", 1), ("two", 2)):
        for name in random.Random(seed).sample(names, len(names)):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    one, two = tmp_path / "one", tmp_path / "two"
    assert tree_digest(one) == tree_digest(two)
    assert list(checksums(one)) == [p.relative_to(two).as_posix() for p in walk_files(two)]
    assert set(checksums(one)) == set(names)
    for change in (
        lambda: (two / "b").write_text("c"),
        lambda: (two / "a.b").rename(two / "a.c"),
        lambda: (two / "new").write_text(""),
        lambda: shutil.rmtree(two / "a"),
    ):
        before = tree_digest(two)
        change()
        assert tree_digest(two) != before


def test_a_tree_s_digest_does_not_depend_on_times(tmp_path):
    (tmp_path / "a").write_text("a")
    before = tree_digest(tmp_path)
    os.utime(tmp_path / "a", (0, 0))
    assert tree_digest(tmp_path) == before
