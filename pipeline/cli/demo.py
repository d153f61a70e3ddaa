"""`visionline demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.demo import run_demo
from pipeline.terminal import console


def demo(
    output: Annotated[Path, typer.Option(help="Put everything here.")] = Path("build/demo"),
) -> None:
    """Train, judge and push a digit classifier, with Keras and with PyTorch."""
    raise typer.Exit(run_demo(output, console()))
