"""Hands manifests to the cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from common.errors import RunError
from common.yaml_text import to_yaml

TIMEOUT_SECONDS = 60
_UNREACHABLE = re.compile(
    r"connection to the server .* was refused|connection refused|connection reset"
    r"|no such host|no route to host|network is unreachable"
    r"|i/o timeout|context deadline exceeded|Client\.Timeout exceeded|TLS handshake timeout"
    r"|Unable to connect to the server|failed to download openapi"
    r"|no context exists|context \"[^\"]*\" does not exist|context was not found"
    r"|no configuration has been provided"
)
_REFUSED = re.compile(
    r"Unauthorized|must be logged in|provide credentials|\(Forbidden\)|is forbidden"
    r"|failed calling webhook|admission webhook"
)
"""What a cluster says that was reached; its webhooks may have no connection themselves."""


def apply(manifests: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Runs `kubectl apply` on one object after the other.

    The cluster takes or refuses each as a whole.  Given several at once, kubectl would go on
    after one that is refused; here none comes after it.

    Yields:
      What kubectl says of each, such as "inferenceservice.serving.kserve.io/digits created".

    Raises:
      RunError: there is no kubectl, or it failed.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RunError(
            "kubectl is not installed, or not on the PATH; nothing was submitted. Install it, or "
            "print the manifest with --dry-run and submit it from where kubectl is."
        )
    for index, manifest in enumerate(manifests):
        try:
            yield _apply(kubectl, manifest)
        except RunError as e:
            raise RunError(f"{e}{_what_was_left(manifests, index)}") from None


def _apply(kubectl: str, manifest: dict[str, Any]) -> str:
    command = [kubectl, "apply", f"--request-timeout={TIMEOUT_SECONDS // 2}s", "-f", "-"]
    text = to_yaml([manifest])
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        raise RunError(
            f"kubectl did not answer within {TIMEOUT_SECONDS} seconds: the cluster cannot be "
            f"reached, or is slow. Whether it took the {kind} is not known; ask it with: kubectl "
            f"get {kind.lower()} {name}"
        ) from None
    except OSError as e:
        raise RunError(f"Cannot run {kubectl}: {e.strerror}.") from None
    if done.returncode:
        message = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        failed = f"kubectl apply failed with exit code {done.returncode}: {message}"
        raise RunError(f"{_why(message)}{failed}")
    return done.stdout.strip()


def _why(message: str) -> str:
    """Says in a sentence of ours that no cluster was reached; kubectl has many for it."""
    if _REFUSED.search(message) or not _UNREACHABLE.search(message):
        return ""
    return (
        "No Kubernetes cluster can be reached. Start it, or set kubectl to one that runs: kubectl "
        "config use-context NAME, or KUBECONFIG.\n"
    )


def _what_was_left(manifests: Sequence[dict[str, Any]], failed: int) -> str:
    """Returns which of several objects were submitted before, and which were not."""
    if len(manifests) == 1:
        return ""
    names = [f"{m['kind']} {m['metadata']['name']}" for m in manifests]
    before, after = ", ".join(names[:failed]) or "nothing", ", ".join(names[failed + 1 :])
    return f"\nSubmitted before: {before}." + (f" Not submitted: {after}." if after else "")
