"""Where a run comes from: code, packages, machine, person."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from pathlib import Path

from trainers.cpus import available_cpus
from trainers.files import digest, sha256_file

_ROOT = Path(__file__).parent.parent
BUILT_FROM = "VISIONLINE_REVISION"
"""In the environment of an image: COMMIT, or COMMIT-changed, as docker/build.sh has it."""
LOCK_FILE = _ROOT / "requirements" / "dev.txt"


def describe() -> dict[str, str | int]:
    """Properties for the pipeline_run context; "not recorded" is left out."""
    packages = installed_packages()
    facts: dict[str, str | int] = {
        "packages": json.dumps(packages, sort_keys=True),
        "packages_digest": digest(packages),
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpus": available_cpus(),
        "user": user(),
        "directory": os.getcwd(),
        **_git(Path.cwd(), "git"),
        **_code(),
    }
    if LOCK_FILE.exists():
        facts["lock_digest"] = sha256_file(LOCK_FILE)
    return facts


def installed_packages() -> dict[str, str]:
    """Version by package, without the copies that setuptools brings for itself.

    They are found once something has imported setuptools, and then hide real ones.
    """
    return {
        d.metadata["Name"]: d.version
        for d in importlib.metadata.distributions()
        if d.metadata["Name"] and Path(str(d.locate_file(""))).name != "_vendor"
    }


def user() -> str:
    """Who runs this; a number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        return str(os.getuid())


def _code() -> dict[str, str | int]:
    """Of visionline itself: of a checkout, or what an image was built from."""
    if (_ROOT / ".git").exists():
        return _git(_ROOT, "visionline_git")
    commit, _, changed = os.environ.get(BUILT_FROM, "unknown").partition("-")
    if commit == "unknown":
        return {}
    return {"visionline_git_commit": commit, "visionline_git_dirty": int(bool(changed))}


def _git(directory: Path, prefix: str) -> dict[str, str | int]:
    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(directory), *args],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {f"{prefix}_commit": commit, f"{prefix}_dirty": int(dirty)}
