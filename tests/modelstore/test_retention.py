"""Old versions go; never the latest, a labelled one, or one that is in use."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import EXAMPLES, start_python, wait_until
from hypothesis import given
from hypothesis import strategies as st
from pushes import manifest, model, visible

from common.errors import ConfigError, DataError
from modelstore import retention
from modelstore.artifact import MANIFEST
from modelstore.in_use import hold, unused
from modelstore.labels import FILE, Labels, change_labels, read_labels, write_labels
from modelstore.retention import prune
from modelstore.versions import damage, leftovers, list_versions, publish

pytestmark = pytest.mark.quick

HOLD = """
import sys
from pathlib import Path
from modelstore.in_use import hold
held = hold(Path(sys.argv[1]))
print(held is not None, flush=True)
sys.stdin.read()
"""
PRUNE = """
import sys
from pathlib import Path
from modelstore.retention import prune
print("ready", flush=True)
prune(Path(sys.argv[1]), 1)
"""


def pushed(root: Path, count: int, files: int = 1, size: int = 10) -> Path:
    source = model(root / "source", files, size)
    for _ in range(count):
        publish(source, root / "m", manifest)
    return root / "m"


def test_the_oldest_go(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 5)
    assert prune(folder, 5).removed == prune(folder, 9).removed == ()
    assert prune(folder, 2).removed == (1, 2, 3)
    assert (list_versions(folder), visible(folder)) == ([4, 5], ["4", "5"])
    assert not list(folder.glob(".removed-*"))
    assert publish(folder / "4", folder, manifest).version == 6
    assert prune(tmp_path / "nothing", 1).removed == () and not (tmp_path / "nothing").exists()


def test_what_has_a_label_stays(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 4)
    write_labels(folder, Labels(versions={"stable": 2, "old": 2, "gone": 9}))
    pruned = prune(folder, 1)
    assert pruned.removed == (1, 3)
    assert pruned.spared == {2: "labelled old, stable"}
    (folder / FILE).write_text("{")
    with pytest.raises(DataError, match="not readable"):
        prune(folder, 1)
    assert list_versions(folder) == [2, 4]


def test_what_is_in_use_stays_until_its_process_ends(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 4)
    server = start_python("-c", HOLD, str(folder / "1"), stdin=True)
    assert server.stdout.readline() == "True\n"
    with hold(folder / "2"):
        pruned = prune(folder, 1)
        assert (pruned.removed, pruned.spared) == ((3,), {1: "in use", 2: "in use"})
    server.kill()
    server.communicate()
    assert prune(folder, 1).removed == (1, 2)


def test_a_version_that_is_being_removed_cannot_be_taken_into_use(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 1)
    with (
        unused(folder / "1") as reason,
        pytest.raises(DataError, match="is being removed"),
    ):
        assert reason == ""
        hold(folder / "1")
    with hold(folder / "1"), unused(folder / "1") as reason:
        assert reason == "in use"
    assert hold(tmp_path / "none") is None


def test_without_locks_nobody_knows_so_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pushed(tmp_path, 2)

    def no_locks(file: object, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    answers = {**vars(fcntl), "flock": no_locks}
    monkeypatch.setattr("modelstore.in_use.fcntl", SimpleNamespace(**answers))
    assert hold(folder / "1") is None
    assert "cannot be known" in prune(folder, 1).spared[1]
    assert list_versions(folder) == [1, 2]


def test_damaged_versions_do_not_count_and_the_latest_stays_even_so(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 5)
    (folder / "5" / "part-0").write_bytes(b"x")
    (folder / "3" / MANIFEST).unlink()
    assert prune(folder, 2).removed == (1,)
    assert list_versions(folder) == [2, 3, 4, 5]
    assert prune(folder, 1).removed == (2, 3)
    assert list_versions(folder) == [4, 5]
    (folder / "4" / "part-0").write_bytes(b"x")
    assert prune(folder, 1).removed == ()


@EXAMPLES
@given(
    st.lists(st.sampled_from(["whole", "damaged", "labelled", "held"]), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_what_may_never_go_stays_and_the_rest_goes(kinds: list[str], keep: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pushed(Path(name), len(kinds))
        numbered = list(enumerate(kinds, 1))
        write_labels(folder, Labels(versions={f"l{v}": v for v, k in numbered if k == "labelled"}))
        held = [hold(folder / str(v)) for v, kind in numbered if kind == "held"]
        for version, kind in numbered:
            if kind == "damaged":
                (folder / str(version) / "part-0").unlink()
        before = list_versions(folder)
        pruned = prune(folder, keep)
        there = list_versions(folder)
        assert sorted([*there, *pruned.removed]) == before
        assert before[-1] in there
        assert {v for v, k in numbered if k in ("labelled", "held")} <= set(there)
        whole = [v for v, k in numbered if k != "damaged"]
        assert set(whole[-keep:]) <= set(there)
        if len(whole) >= keep:
            allowed = {v for v, k in numbered if k in ("labelled", "held")}
            assert {v for v in there if v < whole[-keep]} <= allowed
        for file in held:
            file.close()


def test_removal_that_is_killed_leaves_whole_versions_and_the_next_one_cleans_up(
    tmp_path: Path,
) -> None:
    source = model(tmp_path / "source", files=150, size=2000)
    folder = tmp_path / "m"
    rng = random.Random(0)
    hit = 0
    for _ in range(6):
        while len(list_versions(folder)) < 6:
            publish(source, folder, manifest)
        child = start_python("-c", PRUNE, str(folder))
        assert child.stdout.readline()
        gone = rng.randrange(1, 6)
        wait_until(lambda gone=gone: len(list_versions(folder)) <= 6 - gone)
        child.kill()
        child.communicate()
        hit += bool(list(folder.glob(".removed-*")))
        assert all(damage(folder / str(v)) == [] for v in list_versions(folder))
    assert hit >= 2
    publish(source, folder, manifest)
    assert leftovers(folder) == []
    assert visible(folder) == sorted(map(str, list_versions(folder)))


def test_what_cannot_be_deleted_is_at_least_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pushed(tmp_path, 3)

    def fails(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched, pytest.raises(PermissionError):
        patched.setattr(retention.shutil, "rmtree", fails)
        prune(folder, 1)
    assert list_versions(folder) == [3]
    assert [p.name for p in leftovers(folder)] == [".removed-1", ".removed-2"]
    shutil.rmtree(tmp_path / "source")
    prune(folder, 1)
    assert leftovers(folder) == []


def test_labels_are_changed_together_or_not_at_all(tmp_path: Path) -> None:
    folder = pushed(tmp_path, 3)
    change_labels(folder, {"stable": 1, "canary": 2}, {"stable": 90, "canary": 10})
    expected = Labels(versions={"stable": 1, "canary": 2}, weights={"stable": 90, "canary": 10})
    assert read_labels(folder) == expected
    for versions, weights, remove, told in [
        ({"stable": 9}, None, (), "has no version 9. There are: 1, 2, 3"),
        ({"x": 3}, {"y": 1}, (), "'y' is no label"),
        ({"x": 3}, {"x": -1}, (), "expected 0 or more"),
        ({"x": 3}, {"x": float("nan")}, (), "expected 0 or more"),
        ({"a/b": 3}, None, (), "expected labels of letters"),
        ({}, None, ("stabel",), "Did you mean 'stable'"),
    ]:
        with pytest.raises(ConfigError, match=told):
            change_labels(folder, versions, weights, remove)
        assert read_labels(folder) == expected
    change_labels(folder, {"stable": 3}, None, ["canary"])
    assert read_labels(folder) == Labels(versions={"stable": 3}, weights={"stable": 90})
    change_labels(folder, {}, {})
    assert read_labels(folder) == Labels(versions={"stable": 3})


@EXAMPLES
@given(
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 100)), st.floats(0, 1, exclude_max=True)
)
def test_a_share_is_drawn_among_those_that_answer(weights: dict[str, float], u: float) -> None:
    labels = Labels(versions={"a": 1, "b": 2, "c": 3}, weights=weights)
    drawn = labels.draw([1, 3], u)
    possible = {v for k, v in (("a", 1), ("c", 3)) if weights.get(k, 0) > 0}
    assert drawn in possible if possible else drawn is None
