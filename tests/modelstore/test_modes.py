"""Who may write to what is pushed: whatever the umask, and whatever the modes of its source."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli
from helpers import may_mount, small_disk, wait_until
from numbered_pushes import push
from pusher_pipeline import Pipeline
from pushes import manifest, model, visible
from repository_fakes import CONTENT, Folder

from common.errors import DataError
from components import details
from modelstore.artifact import MANIFEST
from modelstore.labels import Labels, change_labels, write_labels
from modelstore.permissions import closed, open_to_all
from modelstore.rollback import roll_back
from modelstore.versions import damage, list_versions, publish


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(root: Path) -> dict[str, int]:
    """Of a folder and all that is in it, by the path within it."""
    return {
        p.relative_to(root).as_posix(): stat.S_IMODE(p.stat().st_mode)
        for p in (root, *root.rglob("*"))
    }


def open_up(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (0o777, 0o755),
        (0o2777, 0o2775),
        (0o775, 0o775),
        (0o2775, 0o2775),
        (0o755, 0o755),
        (0o770, 0o770),
        (0o700, 0o700),
        (0o1777, 0o1755),
    ],
)
def test_a_group_may_write_where_that_was_decided_and_all_nowhere(made: int, wanted: int) -> None:
    assert closed(made) == wanted


@pytest.mark.parametrize(
    ("mask", "folders", "files"),
    [(0, 0o755, 0o644), (0o002, 0o775, 0o664), (0o022, 0o755, 0o644), (0o077, 0o700, 0o600)],
)
def test_a_version_has_the_modes_of_the_umask_and_not_those_of_its_source(
    tmp_path: Path, mask: int, folders: int, files: int
) -> None:
    source = model(tmp_path / "source", files=4)
    open_up(source)
    (source / "part-0").chmod(0o400)
    with umask(mask):
        publish(source, tmp_path / "serving" / "m", manifest)
    for path in (tmp_path / "serving", *(tmp_path / "serving").rglob("*")):
        if not path.name.startswith("."):
            expected = folders if path.is_dir() else files
            assert stat.S_IMODE(path.stat().st_mode) == expected, path
    assert not open_to_all(tmp_path / "serving" / "m" / "1")
    assert not (tmp_path / "serving" / "m" / ".latest").stat().st_mode & 0o022
    assert not (tmp_path / "serving" / "m" / ".lock").stat().st_mode & 0o002


def test_a_run_pushes_what_others_cannot_change(tmp_path: Path) -> None:
    details.take()
    pipeline = Pipeline(tmp_path)
    with umask(0):
        pipeline.push("one")
        open_up(tmp_path / "artifacts")
        assert pipeline.push("two", keep=1)[1]["pushed_version"] == 2
        change_labels(pipeline.folder, {"stable": 2})
        roll_back_source = pipeline.push("one")[1]["pushed_version"]
    assert roll_back_source == 3
    found = modes(pipeline.folder)
    assert {"3", f"3/{MANIFEST}", "labels.json", ".latest"} <= found.keys()
    del found[".lock"]
    assert not [path for path, mode in found.items() if mode & 0o022]


def test_on_a_claim_of_a_group_the_group_may_write(tmp_path: Path) -> None:
    """As kubelet makes a claim with an fsGroup: setgid, and new folders are so, too."""
    claim = tmp_path / "claim"
    claim.mkdir()
    claim.chmod(0o2775)
    with umask(0):
        publish(model(tmp_path / "source"), claim / "m", manifest)
    found = modes(claim / "m" / "1")
    assert found["."] == found["variables"] == 0o2775 and found[MANIFEST] == 0o664


def test_nobody_else_can_enter_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def copy(source: str | Path, target: str | Path) -> None:
        (partial,) = (tmp_path / "m").glob(".partial-*")
        seen.append(stat.S_IMODE(partial.stat().st_mode))
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(shutil, "copyfile", copy)
    with umask(0):
        publish(model(tmp_path / "source"), tmp_path / "m", manifest)
    assert seen == [0o700, 0o700]


def test_older_folders_that_are_open_are_closed(tmp_path: Path) -> None:
    push(tmp_path)
    folder = tmp_path / "serving" / "m"
    open_up(folder)
    push(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert open_to_all(folder / "1") and not open_to_all(folder / "2")
    roll_back(folder, 1)
    assert not open_to_all(folder / "3") and damage(folder / "3") == []


def test_nothing_is_pushed_where_modes_cannot_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a share whose modes the mount decides, and in a folder of another user's."""
    source, folder = model(tmp_path / "source"), tmp_path / "m"
    publish(source, folder, manifest)
    monkeypatch.setattr(os, "chmod", lambda *args, **more: None)
    monkeypatch.setattr(Path, "chmod", lambda *args, **more: None)
    with umask(0), pytest.raises(DataError, match=r"Everybody may write to .*dir_mode=0755"):
        publish(source, folder, manifest)
    assert visible(folder) == ["1"] and not list(folder.glob(".partial-*"))
    monkeypatch.undo()
    folder.chmod(0o777)

    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(DataError, match=f"Have its owner take that away: chmod go-w {folder}"):
        publish(source, folder, manifest)
    assert list_versions(folder) == [1]


@pytest.mark.parametrize("what", ["1", f"1/{CONTENT}", "."])
def test_the_server_says_once_that_all_may_write_and_serves(tmp_path: Path, what: str) -> None:
    folder = Folder(tmp_path)
    folder.push("m")
    path = folder.serving / "m" / what
    path.chmod(path.stat().st_mode | 0o002)
    folder.see("m", 1)
    folder.see("m", 1)
    assert folder.answer("m") == 1
    wait_until(lambda: len(folder.events) == 2, 10)  # said after the version answers
    folder.repository.close()
    (told,) = [e for e in folder.events if e[0] == "writable"]
    assert told[1:3] == ("m", 1)
    assert told[3] == f"everybody may write to {path}: chmod -R go-w {folder.serving / 'm'}"


def test_a_server_has_nothing_to_say_of_what_is_closed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with umask(0):
        folder.push("m")
    folder.see("m", 1)
    wait_until(lambda: folder.events != [], 10)
    folder.repository.close()
    wait_until(lambda: len(folder.events) == 2, 10)
    assert [e[0] for e in folder.events] == ["loaded", "unloaded"]


if may_mount():

    def test_a_copy_of_the_pods_own_is_nobody_elses(tmp_path: Path) -> None:
        """As KServe's of a bucket: an empty folder with the mode 777, mounted read-only."""
        (tmp_path / "m").mkdir()
        with small_disk(tmp_path / "m" / "3", "1m", "mode=777") as version:
            (version / "file").write_text("x")
            assert str(version) in open_to_all(version)
            subprocess.run(["mount", "-o", "remount,ro", version], check=True)
            assert open_to_all(version) == ""
            subprocess.run(["mount", "-o", "remount,rw", version], check=True)
            (version / "file").chmod(0o666)
            subprocess.run(["mount", "-o", "remount,ro", version], check=True)
            assert str(version / "file") in open_to_all(version)


def test_versions_warns_of_what_all_may_write(tmp_path: Path, cli: Cli) -> None:
    push(tmp_path)
    push(tmp_path)
    folder = tmp_path / "serving" / "m"
    assert cli("versions", "--serving", folder.parent).stderr == ""
    open_up(folder / "2")
    done = cli("versions", "--serving", folder.parent)
    assert done.returncode == 0
    assert done.stderr == (
        f"Warning: m version 2: everybody may write to {folder / '2'} and 5 more: "
        f"chmod -R go-w {folder}\n"
    )


def test_labels_are_their_owners_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0):
        write_labels(tmp_path, Labels(versions={}))
    assert modes(tmp_path)["labels.json"] == 0o644
