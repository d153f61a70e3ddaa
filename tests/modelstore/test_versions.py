"""The serving folder: versions are whole or absent, and only ever increase."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from helpers import EXAMPLES, largest_file, may_mount, small_disk, start_python, wait_until
from hypothesis import given
from hypothesis import strategies as st
from pushes import manifest, model, visible

from common.files import checksums
from modelstore.artifact import MANIFEST, PushManifest
from modelstore.versions import damage, list_versions, next_version, publish

pytestmark = pytest.mark.quick

PUSH = """
import sys
from pathlib import Path
from modelstore.artifact import PushManifest
from modelstore.versions import publish

def manifest(version):
    words = dict.fromkeys(("pushed_at", "framework", "architecture", "model_uri", "run_id"), "x")
    return PushManifest(name="m", version=version, mlmd={}, **words)

for _ in range(int(sys.argv[3])):
    print(publish(Path(sys.argv[1]), Path(sys.argv[2]), manifest).version, flush=True)
"""


def test_the_first_version_is_1_and_holds_the_model_and_its_manifest(tmp_path):
    source, folder = model(tmp_path / "source"), tmp_path / "serving" / "m"
    assert (list_versions(folder), next_version(folder)) == ([], 1)
    pushed = publish(source, folder, manifest)
    assert (pushed.version, list_versions(folder), next_version(folder)) == (1, [1], 2)
    assert PushManifest.read(folder / "1") == pushed
    assert pushed.checksums == checksums(source)
    assert checksums(folder / "1").keys() == {*pushed.checksums, MANIFEST}
    assert damage(folder / "1") == []


@EXAMPLES
@given(st.lists(st.sampled_from(["push", "remove newest", "remove oldest", "remove all", "lose"])))
def test_versions_only_increase_whatever_is_removed(actions):
    with tempfile.TemporaryDirectory() as name:
        source, folder = model(Path(name) / "source"), Path(name) / "m"
        given: list[int] = []
        for action in actions:
            there = list_versions(folder)
            if action == "push":
                given.append(publish(source, folder, manifest).version)
                assert list_versions(folder) == [*there, given[-1]]
            elif action == "lose":  # the record of the highest; the folders still count
                if there and there[-1] == given[-1]:
                    (folder / ".latest").write_text("not a number")
            else:
                slices = {"oldest": slice(0, 1), "newest": slice(-1, None), "all": slice(None)}
                if (folder / ".latest").exists() and (folder / ".latest").read_text().isdecimal():
                    for version in there[slices[action.split()[1]]]:
                        shutil.rmtree(folder / str(version))
        assert given == sorted(set(given))


def test_a_version_can_itself_be_pushed_again(tmp_path):
    folder = tmp_path / "m"
    publish(model(tmp_path / "source"), folder, manifest)
    assert publish(folder / "1", folder, manifest).version == 2
    assert damage(folder / "2") == []


def test_what_is_no_version_is_passed_over(tmp_path):
    for name in ("3", "notes", ".partial-4", "1.5", "-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    assert list_versions(tmp_path) == [3]
    assert list_versions(tmp_path / "nowhere") == []


def test_damaged_missing_and_added_files_are_named(tmp_path):
    source, folder = model(tmp_path / "source", files=4), tmp_path / "m"
    publish(source, folder, manifest)
    (folder / "1" / "part-0").write_bytes(b"x")
    (folder / "1" / "variables" / "part-1").unlink()
    (folder / "1" / "new").write_bytes(b"")
    assert damage(folder / "1") == [
        "part-0: changed",
        "variables/part-1: missing",
        "new: not in the manifest",
    ]
    (folder / "1" / MANIFEST).write_text("{")
    (problem,) = damage(folder / "1")
    assert problem.startswith(f"{folder / '1' / MANIFEST} is not readable")
    (folder / "1" / MANIFEST).unlink()
    assert damage(folder / "1") == [f"Expected {MANIFEST} in {folder / '1'}, found none."]


def test_concurrent_pushes_give_distinct_whole_versions_that_readers_see_whole(tmp_path):
    source, folder = model(tmp_path / "source", files=20, size=50_000), tmp_path / "m"
    pushers = [start_python("-c", PUSH, str(source), str(folder), "4") for _ in range(3)]
    seen: set[int] = set()
    while any(p.poll() is None for p in pushers):
        for version in list_versions(folder):
            # The manifest is written last: where it is, everything is.
            recorded = json.loads((folder / str(version) / MANIFEST).read_text())
            assert recorded["version"] == version
            if version not in seen:
                assert damage(folder / str(version)) == []
                seen.add(version)
    given = [sorted(map(int, p.communicate()[0].split())) for p in pushers]
    assert all(p.returncode == 0 for p in pushers)
    assert (
        sorted(v for versions in given for v in versions)
        == list(range(1, 13))
        == list_versions(folder)
    )
    assert visible(folder) == sorted(map(str, range(1, 13)))


def test_a_push_that_is_killed_leaves_nothing_to_be_seen(tmp_path):
    source, folder = model(tmp_path / "source", files=100, size=20_000), tmp_path / "m"
    rng = random.Random(0)
    partials = checked = 0
    for _ in range(8):
        child = start_python("-c", PUSH, str(source), str(folder), "1000")
        assert child.stdout.readline()  # what the last one left is cleaned up now
        enough = rng.randrange(100)
        wait_until(lambda enough=enough: files_in_partials(folder) > enough)
        child.kill()
        child.communicate()
        partials += any(folder.glob(".partial-*"))
        versions = list_versions(folder)
        assert visible(folder) == sorted(map(str, versions), key=str)
        assert all(damage(folder / str(v)) == [] for v in versions[checked:])
        checked = len(versions)
    assert partials >= 4  # most were hit in the middle
    (folder / "..latest.12345.tmp").write_text("of a push that was killed at its end")
    pushed = publish(source, folder, manifest)
    assert damage(folder / str(pushed.version)) == []
    assert pushed.version > versions[-1]
    assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == {".latest", ".lock"}


def files_in_partials(folder: Path) -> int:
    return sum(len(files) for p in folder.glob(".partial-*") for _, _, files in os.walk(p))


def check_failed_push(source: Path, folder: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device|File too large"):
        publish(source, folder, manifest)
    assert visible(folder) == ["1"]
    assert not list(folder.glob(".partial-*"))
    assert damage(folder / "1") == []


def check_next_push(source: Path, folder: Path) -> None:
    pushed = publish(source, folder, manifest)
    assert pushed.version > 1
    assert visible(folder) == ["1", str(pushed.version)]
    assert damage(folder / str(pushed.version)) == []


@pytest.mark.parametrize("files", [1, 40])
def test_a_push_that_cannot_be_written_leaves_nothing(tmp_path, files):
    source, folder = model(tmp_path / "source", files, 2**20 // files), tmp_path / "m"
    publish(source, folder, manifest)
    with largest_file(1000):
        check_failed_push(source, folder)
    check_next_push(source, folder)


if may_mount():

    @pytest.mark.parametrize("files", [1, 40])
    def test_a_push_to_a_full_disk_leaves_nothing(tmp_path, files):
        source = model(tmp_path / "source", files, 2**20 // files)
        with small_disk(tmp_path / "disk", "4m") as disk:
            publish(source, disk / "m", manifest)
            with open(disk / "something else", "wb") as f, contextlib.suppress(OSError):
                f.write(bytes(2**22))
            check_failed_push(source, disk / "m")
            (disk / "something else").unlink()
            check_next_push(source, disk / "m")
