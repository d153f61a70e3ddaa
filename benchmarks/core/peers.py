"""Peers: small programs in processes of their own, which print what they measured as JSON."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.core.processes import Checkout, FailedError


def ask_peer(checkout: Checkout, name: str, *words: str) -> dict[str, Any]:
    """Runs `benchmarks.NAME` and returns what its last line says.

    Raises:
      FailedError: it failed.
    """
    command = checkout.module(f"benchmarks.{name}", *words)
    done = subprocess.run(
        command, cwd=checkout.root, env=checkout.environment, capture_output=True, text=True
    )
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-15:])
        raise FailedError(f"`{' '.join(command[1:])}` failed:\n{said}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
