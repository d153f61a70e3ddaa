"""`visionline stop`."""

from __future__ import annotations

import typer

from common.process.warm.client import stop_all


def stop() -> None:
    """End the processes that runs left behind, so that the next one begins sooner."""
    stopped = stop_all()
    typer.echo(f"Ended {stopped}." if stopped else "There is none.")
