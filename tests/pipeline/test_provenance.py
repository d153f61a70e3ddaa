"""Which code a run came from, where there is a checkout and where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

from common.record.record import Value
from pipeline.recording import provenance

pytestmark = pytest.mark.quick


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """visionline without its history, inside somebody else's repository."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(provenance, "_ROOT", folder)
    monkeypatch.delenv(provenance.BUILT_FROM, raising=False)
    return folder


def code() -> dict[str, Value]:
    found = provenance.describe().properties()
    return {k: v for k, v in found.items() if k.startswith("visionline_git")}


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no checkout")
def test_a_checkout_is_asked() -> None:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert code()["visionline_git_commit"] == head


@pytest.mark.parametrize(
    ("built_from", "found"),
    [
        ("a1b2c3", {"visionline_git_commit": "a1b2c3", "visionline_git_dirty": 0}),
        ("a1b2c3-changed", {"visionline_git_commit": "a1b2c3", "visionline_git_dirty": 1}),
        ("unknown", {}),
    ],
)
def test_an_image_tells_what_it_was_built_from(
    built_from: str, found: dict[str, str | int], installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(provenance.BUILT_FROM, built_from)
    assert code() == found


def test_somebody_elses_repository_is_not_taken_for_it(installed: Path) -> None:
    assert code() == {}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own, with one commit; where we are."""
    folder = tmp_path / "re po"
    folder.mkdir()
    for name, text in {"model.py": "x = 1\n", ".gitignore": "local.py\n"}.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    monkeypatch.chdir(folder)
    return folder


def git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def changes(run_dir: Path | None = None, **own: Path) -> dict[str, Value]:
    found = provenance.describe(run_dir, own).properties()
    return {k: v for k, v in found.items() if k.startswith("git")}


@pytest.mark.parametrize("place", [".", "sub"])
def test_modules_that_were_never_added_are_changes_and_are_kept(
    repository: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "sub").mkdir()
    monkeypatch.chdir(repository / place)
    clean = changes(tmp_path / "clean")
    assert clean["git_dirty"] == 0 and "git_changes" not in clean
    assert not (tmp_path / "clean/code/changes.patch").exists()
    (repository / "photos.txt").write_text("no module\n")
    assert changes()["git_dirty"] == 0
    (repository / "model.py").write_text("x = 2\n")
    edited = changes()
    assert edited["git_dirty"] == 1
    (repository / "sub" / "häufig.py").write_text("y = 1\n")
    (repository / "local.py").write_text("z = 1\n")
    index = (repository / ".git/index").read_bytes()
    added = changes(tmp_path / "run", local=repository / "local.py")
    assert len({edited["git_changes"], added["git_changes"], changes()["git_changes"]}) == 3
    assert (repository / ".git/index").read_bytes() == index
    patch = tmp_path / "run/code/changes.patch"
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repository), str(other))
    git(other, "apply", str(patch))
    for name in ("model.py", "sub/häufig.py", "local.py"):
        assert (other / name).read_text() == (repository / name).read_text()
    assert (tmp_path / "run/code/own/local.py.txt").read_text() == "z = 1\n"


def test_a_change_of_the_same_second_and_size_is_one(repository: Path) -> None:
    """As git sees it: by the time of its index."""
    then, module, index = (10**9, 10**9), repository / "model.py", repository / ".git/index"
    git(repository, "config", "core.trustctime", "false")
    os.utime(module, then)
    git(repository, "update-index", "--refresh")
    assert changes()["git_dirty"] == 0
    module.write_text("x = 2\n")
    os.utime(module, then)
    os.utime(index, then)
    assert changes()["git_dirty"] == 1


def test_a_repository_without_a_commit_or_git_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q")
    assert changes() == {}
    monkeypatch.setenv("PATH", "/nowhere")
    assert changes() == {}


def test_a_user_without_a_name_is_a_uid_and_a_pod_is_kubeflow_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.delenv(provenance.POD, raising=False)
    monkeypatch.setattr("getpass.getuser", unknown)
    monkeypatch.setattr("os.getuid", lambda: 65532)
    assert provenance.user() == "uid 65532"
    assert provenance.describe().host == socket.gethostname()
    monkeypatch.setenv(provenance.POD, "digits-x7k2p-1234")
    assert provenance.user() == "Kubeflow (uid 65532)"
    assert provenance.describe().host == "digits-x7k2p-1234"
