"""Where a run comes from: code, packages, machine, person.

What is not committed is kept with the run, in its folder `code/`: changes.patch of the
repository it was run in, visionline.patch of visionline's own, and own/, the user's modules
that the model was made by (as text, so that they are nobody's modules there).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from common.files import digest, sha256_file, write_atomic
from common.process.cpus import available_cpus
from common.process.user import POD, user
from common.record.run import Run

_ROOT = Path(__file__).parents[2]
BUILT_FROM = "VISIONLINE_REVISION"
"""In the environment of an image: COMMIT, or COMMIT-changed, as docker/build.sh has it."""
LOCK_FILE = _ROOT / "requirements" / "dev.txt"
CODE = "code"
"""In the folder of a run."""
_LARGEST_PATCH = 16 * 2**20
_Git = tuple[str | None, bool | None, str | None]
"""A commit, whether something is not in it, and the digest of the patch of that."""
_UNKNOWN: _Git = (None, None, None)


def describe(run_dir: Path | None = None, own: Mapping[str, Path] | None = None) -> Run:
    """Returns the record of a run, as far as its surroundings go.

    Args:
      run_dir: where the code that is in no commit is kept; None: it is not.
      own: the user's modules that make the model, see `pipeline.recording.own_code`.
    """
    kept = None if run_dir is None else run_dir / CODE
    own = own or {}
    packages = installed_packages()
    commit, dirty, changes = _git(Path.cwd(), kept and kept / "changes.patch", own.values())
    our_commit, our_dirty, our_changes = _code(kept and kept / "visionline.patch")
    if kept is not None:
        for name, path in own.items():
            package = ["__init__"] if path.name == "__init__.py" else []
            place = (kept / "own").joinpath(*name.split("."), *package)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place.with_name(f"{place.name}.py.txt"))
    return Run(
        packages=packages,
        packages_digest=digest(packages),
        lock_digest=sha256_file(LOCK_FILE) if LOCK_FILE.exists() else None,
        python=platform.python_version(),
        host=os.environ.get(POD) or socket.gethostname(),
        platform=platform.platform(),
        cpus=available_cpus(),
        user=user(),
        directory=os.getcwd(),
        git_commit=commit,
        git_dirty=dirty,
        git_changes=changes,
        visionline_git_commit=our_commit,
        visionline_git_dirty=our_dirty,
        visionline_git_changes=our_changes,
        own_code={name: sha256_file(path) for name, path in own.items()} or None,
    )


def installed_packages() -> dict[str, str]:
    """Returns version by package, without the copies that setuptools brings for itself.

    They are found once something has imported setuptools, and then hide real ones.
    """
    found = [
        d.metadata  # read and parsed anew each time that it is asked for
        for d in importlib.metadata.distributions()
        if Path(str(d.locate_file(""))).name != "_vendor"
    ]
    return {metadata["Name"]: metadata["Version"] for metadata in found if metadata["Name"]}


def _code(patch: Path | None) -> _Git:
    """Returns the same of visionline itself: of a checkout, or what an image was built from."""
    if (_ROOT / ".git").exists():
        return _git(_ROOT, patch)
    commit, _, changed = os.environ.get(BUILT_FROM, "unknown").partition("-")
    if commit == "unknown":
        return _UNKNOWN
    return commit, bool(changed), None


def _git(directory: Path, patch: Path | None, own: Collection[Path] = ()) -> _Git:
    """Returns the commit, and what is not in it: changed files, and modules that were never added.

    Args:
      patch: where the changes are kept.
      own: modules that count even where the repository ignores them.
    """
    try:
        root = Path(os.fsdecode(_run_git(directory, "rev-parse", "--show-toplevel")[:-1]))
        commit = _run_git(root, "rev-parse", "HEAD").decode().strip()
        changes = _changes(root, [p for p in own if p.resolve().is_relative_to(root)])
    except (OSError, subprocess.SubprocessError):
        return _UNKNOWN
    if not changes:
        return commit, False, None
    if patch is not None and len(changes) <= _LARGEST_PATCH:
        patch.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(patch, changes)
    return commit, True, hashlib.sha256(changes).hexdigest()


def _changes(root: Path, own: Collection[Path]) -> bytes:
    """Returns a patch for `git apply`: what is changed, and modules that were never added."""
    others = _run_git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    if own:
        others += _run_git(root, "ls-files", "-z", "--others", "--", *(str(p) for p in own))
    with tempfile.TemporaryDirectory() as scratch:
        # An index of its own: the user's is not touched.  With its time, by which git knows
        # what may have changed within the same second.
        index = Path(scratch, "index")
        own_index = _run_git(root, "rev-parse", "--git-path", "index")[:-1]
        shutil.copy2(root / os.fsdecode(own_index), index)
        if others:
            new = ("--pathspec-from-file=-", "--pathspec-file-nul")
            _run_git(root, "add", "--force", "--intent-to-add", *new, index=index, stdin=others)
        return _run_git(root, "diff", "HEAD", "--binary", "--no-ext-diff", index=index)


def _run_git(root: Path, *args: str, index: Path | None = None, stdin: bytes = b"") -> bytes:
    """Returns what git prints; raises SubprocessError where it fails."""
    return subprocess.run(
        ["git", "-C", str(root), *args],
        input=stdin,
        capture_output=True,
        check=True,
        timeout=60,
        env=os.environ | ({"GIT_INDEX_FILE": str(index)} if index else {}),
    ).stdout
