"""What is recorded of a run."""

from __future__ import annotations

from typing import Any

from common.record.record import Record, record

RUNNING, COMPLETE, FAILED, CANCELLED = "running", "complete", "failed", "cancelled"


@record
class Run(Record):
    """The context of type `pipeline_run`, named by the run's id."""

    pipeline: str | None = None
    state: str | None = None
    """running, complete, failed or cancelled"""
    error: str | None = None
    """Why it failed."""
    duration_seconds: float | None = None
    framework: str | None = None
    model: str | None = None
    """The architecture's name."""
    seed: int | None = None
    config: dict[str, Any] | None = None
    """The resolved config, defaults included."""
    config_digest: str | None = None
    dataset_digest: str | None = None
    """SHA-256 over every image's path, label, split, columns and content."""
    git_commit: str | None = None
    """Of the folder it was run in, if that is a repository."""
    git_dirty: bool | None = None
    """Whether anything was not committed, modules (`*.py`) that were never added among it."""
    git_changes: str | None = None
    """SHA-256 of the patch of it, which the run keeps in `code/changes.patch`."""
    visionline_git_commit: str | None = None
    """These three: of visionline itself."""
    visionline_git_dirty: bool | None = None
    visionline_git_changes: str | None = None
    own_code: dict[str, str] | None = None
    """SHA-256 by module of the modules of your own model and input, and of what they import of
    yours; the run keeps them in `code/own`."""
    packages: dict[str, str] | None = None
    """Version by installed package."""
    packages_digest: str | None = None
    lock_digest: str | None = None
    """SHA-256 of `requirements/dev.txt`."""
    python: str | None = None
    host: str | None = None
    """In a pod of Kubeflow the pod's name."""
    platform: str | None = None
    cpus: int | None = None
    accelerator: str | None = None
    user: str | None = None
    """Without a name `uid NUMBER`; in a pod of Kubeflow, Kubeflow's."""
    directory: str | None = None
    """That it was run in."""
