"""Who may change what is pushed: its owner, at times its group, and never everybody.

Whoever can write to a served folder chooses what is served.  Some runners set a umask of 0,
and files that are copied bring their modes along; so what is pushed gets modes of its own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from common.errors import DataError


def closed(mode: int) -> int:
    """Returns the permissions of a new folder without those that nobody meant.

    Args:
      mode: as the umask left it.

    Returns:
      Never writable by all.  The group may write where that was decided: by a umask that
      keeps the others out alone, such as 002, or by the setgid bit of a folder that a group
      shares, such as a claim's with an fsGroup.  A umask of 0 decides nothing.
    """
    if not mode & stat.S_IWOTH:
        return mode
    return mode & ~(stat.S_IWOTH | (0 if mode & stat.S_ISGID else stat.S_IWGRP))


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing, and closes them.

    Raises:
      DataError: it was there, everybody may write to it, and it is another user's.
    """
    missing = [f for f in folder.parents if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, *missing):
        mode = stat.S_IMODE(each.stat().st_mode)
        if mode == closed(mode):
            continue
        with contextlib.suppress(PermissionError):  # another user's: told below
            os.chmod(each, closed(mode))
        if _is_open(each):
            raise DataError(
                f"Everybody may write to {each}, and so swap the models in it; nothing was "
                f"pushed. Have its owner take that away: chmod go-w {each}"
            )


def close_tree(root: Path, mode: int) -> None:
    """Gives all that is below a folder, and then the folder itself, the same permissions.

    Args:
      mode: of folders; files get it without the bits to be run or shared.

    Raises:
      DataError: the file system keeps others' right to write.
    """
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            os.chmod(os.path.join(directory, name), mode & 0o666)
        os.chmod(directory, mode)
    if exposed := next(_open(root), None):
        raise DataError(
            f"Everybody may write to {exposed}, and the file system keeps it so: whoever mounts it "
            "could swap the model. Nothing was pushed. Mount it with other modes, such as "
            "dir_mode=0755 and file_mode=0644."
        )


def open_to_all(version_dir: Path) -> str:
    """Says what of a served version everybody may write to; empty if nothing.

    Looked at are its folder and all in it, and the model's folder, in which another version
    could take its place.  What cannot be looked at is passed over, and so is the folder where it
    is a read-only mount of its own: Kubernetes gives the empty folder that a pod's copy of a
    bucket is in such modes, and what is in the pod can't write to it.
    """
    model = version_dir.parent
    exposed = [*filter(_is_open, (model,)), *_open(version_dir)]
    if version_dir in exposed and _is_read_only_mount(version_dir):
        exposed.remove(version_dir)
    if not exposed:
        return ""
    more = f" and {len(exposed) - 1} more" if exposed[1:] else ""
    return f"everybody may write to {exposed[0]}{more}: chmod -R go-w {model}"


def _open(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        yield from filter(_is_open, (Path(directory), *(Path(directory, n) for n in sorted(names))))


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _is_read_only_mount(folder: Path) -> bool:
    return os.path.ismount(folder) and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
