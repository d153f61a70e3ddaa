"""Hands a manifest to the cluster."""

from __future__ import annotations

import shutil
import subprocess

from trainers.errors import RunError

TIMEOUT_SECONDS = 60


def apply(text: str) -> str:
    """Runs `kubectl apply` on one object, which the cluster takes or refuses as a whole.

    Returns:
      What kubectl says, such as "inferenceservice.serving.kserve.io/digits created".

    Raises:
      RunError: there is no kubectl, or it failed.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RunError(
            "kubectl is not installed, or not on the PATH; nothing was submitted. Install it, or "
            "print the manifest with --dry-run and submit it from where kubectl is."
        )
    command = [kubectl, "apply", f"--request-timeout={TIMEOUT_SECONDS // 2}s", "-f", "-"]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"kubectl did not answer within {TIMEOUT_SECONDS} seconds. Whether the cluster took "
            "the manifest is not known; ask it with: kubectl get inferenceservices"
        ) from None
    except OSError as e:
        raise RunError(f"Cannot run {kubectl}: {e.strerror}. Nothing was submitted.") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        raise RunError(f"kubectl apply failed with exit code {done.returncode}: {said}")
    return done.stdout.strip()
