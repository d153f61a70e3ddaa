"""Where Kubeflow Pipelines' launcher puts what lies in an object store.

Before a task runs, the launcher copies its inputs below these folders; afterwards it
copies the outputs from there.
"""

from __future__ import annotations

import os

from trainers.errors import ConfigError

MOUNTS = {"minio": "/minio/", "s3": "/s3/", "gs": "/gcs/"}
"""By the scheme of the URI."""
ABOVE_VARIABLE = "VISIONLINE_MOUNTS"
"""A folder in place of `/`, for tasks that run in no container."""


def local_path(uri: str) -> str:
    """The path in the container of `scheme://bucket/key`; a plain path is its own.

    Raises:
      ConfigError: the launcher knows no such scheme.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if scheme == "file":
        return rest
    if scheme not in MOUNTS:
        known = ", ".join(f"{s}://" for s in MOUNTS)
        raise ConfigError(f"Expected a URI that begins with {known}, got {uri!r}.")
    return _above() + MOUNTS[scheme] + rest


def remote_uri(path: str) -> str:
    """The inverse of `local_path`."""
    inside = path.removeprefix(_above())
    for scheme, mount in MOUNTS.items():
        if inside.startswith(mount):
            return f"{scheme}://{inside.removeprefix(mount)}"
    return path


def _above() -> str:
    return os.environ.get(ABOVE_VARIABLE, "")
