"""Who runs this process."""

from __future__ import annotations

import getpass
import os

POD = "KFP_POD_NAME"
"""In the environment of what Kubeflow Pipelines runs: the pod, by which its log is found."""


def user() -> str:
    """Who runs this: a name, or the user's number where the system knows none.

    In a pod of Kubeflow Pipelines it is the image's user, whoever asked for the run: a pod is
    not told who that was, so Kubeflow is named.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        name = f"uid {os.getuid()}"
    return f"Kubeflow ({name})" if POD in os.environ else name
