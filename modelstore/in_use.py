"""Which pushed versions are being used, by whichever process.

Who serves a version holds a shared lock on its manifest; who removes one must hold
that lock alone.  The kernel frees the locks of a process however it ends.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import DataError
from modelstore.artifact import MANIFEST

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems without locks answer, such as those over object stores."""


def hold(version_dir: Path) -> IO[bytes] | None:
    """Marks a version as used until the file that is returned is closed.

    Returns None where there is no manifest, or the file system has no locks.

    Raises:
      DataError: the version is being removed.
    """
    try:
        manifest = open(version_dir / MANIFEST, "rb")  # noqa: SIM115 - held by the caller
    except OSError:
        return None
    try:
        fcntl.flock(manifest, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as e:
        manifest.close()
        if e.errno in _UNSUPPORTED:
            return None
        raise DataError(f"{version_dir} is being removed.") from None
    return manifest


@contextmanager
def unused(version_dir: Path) -> Iterator[str]:
    """Keeps a version from being used; yields why it cannot be, or "".

    A version without a readable manifest cannot be served, so nobody uses it.
    """
    try:
        # NFS gives locks to be held alone only for files that are open for writing.
        manifest = open(version_dir / MANIFEST, "r+b")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield ""
        return
    except OSError as e:
        yield f"{version_dir / MANIFEST}: {e.strerror}"
        return
    with manifest:
        reason = ""
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = "in use"
        except OSError as e:
            reason = f"whether it is in use cannot be known: {e.strerror}"
        yield reason
