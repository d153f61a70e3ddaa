"""Runs a command with the files of a pod: all read-only, but for a /tmp that is empty.

    python read_only_root.py SERVING COMMAND…

SERVING is at /mnt/models.  Becomes the command; exits with 77 where namespaces are not
allowed.
"""

from __future__ import annotations

import ctypes
import os
import sys

NOT_ALLOWED = 77
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(serving: str, *command: str) -> None:
    try:
        _check(_LIBC.unshare(_CLONE_NEWNS))
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        models = os.open(serving, os.O_PATH)
        _mount("none", "/mnt", "tmpfs", 0)
        os.mkdir("/mnt/models")
        _mount(f"/proc/self/fd/{models}", "/mnt/models", None, _MS_BIND)
        read_only = (ctypes.c_uint64 * 4)(_RDONLY, 0, 0, 0)  # struct mount_attr
        where = (_AT_FDCWD, b"/", _AT_RECURSIVE, read_only, ctypes.sizeof(read_only))
        _check(_LIBC.syscall(_MOUNT_SETATTR, *where))
        checkout = os.open(os.getcwd(), os.O_PATH)
        _mount("none", "/tmp", "tmpfs", 0)
        if os.getcwd().startswith("/tmp/"):  # where the code is, below what was just hidden
            os.makedirs(os.getcwd())
            _mount(f"/proc/self/fd/{checkout}", os.getcwd(), None, _MS_BIND)
            os.chdir(os.getcwd())
    except OSError as e:
        print(f"Namespaces are not allowed here: {e}", file=sys.stderr)
        sys.exit(NOT_ALLOWED)
    os.execvp(command[0], command)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = None if kind is None else kind.encode()
    _check(_LIBC.mount(source.encode(), target.encode(), encoded, flags, None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(*sys.argv[1:])
