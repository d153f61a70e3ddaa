"""Which code a run came from, where there is a checkout and where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

from pipeline import provenance


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """visionline without its history, inside somebody else's repository."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(provenance, "_ROOT", folder)
    monkeypatch.delenv(provenance.BUILT_FROM, raising=False)
    return folder


def code() -> dict[str, str | int]:
    return {k: v for k, v in provenance.describe().items() if k.startswith("visionline_git")}


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
