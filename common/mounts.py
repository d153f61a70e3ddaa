"""Where the files of artifacts lie that their URIs do not say.

Before a task runs, Kubeflow Pipelines' launcher copies what lies in an object store below
these folders; afterwards it copies the outputs from there.  And an output folder may have
been moved since an artifact was made in it.
"""

from __future__ import annotations

import os

from common.errors import ConfigError

MOUNTS = {"minio": "/minio/", "s3": "/s3/", "gs": "/gcs/"}
"""By the scheme of the URI."""
ABOVE_VARIABLE = "VISIONLINE_MOUNTS"
"""A folder in place of `/`, for tasks that run in no container."""

_named: dict[str, str] = {}
"""What is recorded, by the path in this process."""


def remember(path: str, uri: str) -> None:
    """Notes that a store names what lies at a path by another one."""
    _named[path] = uri


def local_path(uri: str) -> str:
    """Returns the path in the container of `scheme://bucket/key`; a plain path is its own.

    Raises:
      ConfigError: the launcher knows no such scheme.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if scheme == "file":
        return rest
    if scheme not in MOUNTS:
        schemes = ", ".join(f"{s}://" for s in MOUNTS)
        raise ConfigError(f"Expected a URI that begins with {schemes}, got {uri!r}.")
    return _above() + MOUNTS[scheme] + rest


def remote_uri(path: str) -> str:
    """Returns what the store calls what lies at a path; the inverse of `local_path`."""
    if path in _named:
        return _named[path]
    inside = path.removeprefix(_above())
    for scheme, mount in MOUNTS.items():
        if inside.startswith(mount):
            return f"{scheme}://{inside.removeprefix(mount)}"
    return path


def _above() -> str:
    return os.environ.get(ABOVE_VARIABLE, "")
