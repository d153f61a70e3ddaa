"""Switches off what the libraries that visionline uses report to their makers.

Done when this package is imported, which every part of visionline does before anything
that would report; so in every process, and the children inherit it.
"""

from __future__ import annotations

import os

OFF = {
    # A look-up of its maker's host with the first session, and a device id in a file.
    # Read when it is imported; its `disable_telemetry_events()` is too late.
    "ORT_DISABLE_TELEMETRY": "1",
    # What timm and others tell the hub, beside a download that was asked for.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # TensorFlow, JAX and torchax set it to 1: the uptime of Google's TPU runtime.
    "ENABLE_RUNTIME_UPTIME_TELEMETRY": "0",
    # MLflow's client, where figures go to a server of it: who uses which function.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables and the value that means off.  Each stands also in docker/*.Dockerfile."""


def switch_off() -> None:
    """Whatever a variable was set to: it is off."""
    os.environ.update(OFF)
