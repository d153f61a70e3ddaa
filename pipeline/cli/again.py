"""`visionline run --again RUN`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from common.errors import ConfigError
from pipeline.cli.lineage.asking import Store
from pipeline.run import again
from pipeline.run.closing import print_outcome
from pipeline.run.display import make_display
from pipeline.run.session import run_pipelines
from pipeline.terminal import console


def run_again(ref: str, config: Path | None, overrides: Mapping[str, Any]) -> int:
    """Runs a recorded run once more; returns the exit code."""
    others = sorted(set(overrides) - {"run.output", "push.destination", "run.metadata"})
    if config is not None or others:
        extra = str(config) if config is not None else others[0]
        raise ConfigError(
            f"--again takes the recorded config; {extra} would make it another run. Only "
            "--output, --serving and --metadata (the store that has the record) go with it. "
            "To change something, give `visionline run` the config.json in the folder of the run."
        )
    with Store(None, overrides.get("run.metadata"), as_json=False).open(ref) as reader:
        recorded = again.read_back(
            reader, ref, overrides.get("run.output"), overrides.get("push.destination")
        )
    typer.echo(f"{recorded.run_id} again, into {recorded.config.output}")
    differing = again.differences(recorded)
    for line in differing or ["Nothing that is recorded of it differs now."]:
        typer.echo(f"  {line}")
    terminal = console()
    finished = run_pipelines([recorded.config], make_display(terminal))[-1]
    code = print_outcome(finished, terminal)
    if finished.state == "complete":
        typer.echo(again.compare_weights(recorded.then, Path(finished.summary["model_uri"])))
    return code
