"""The runners by name; each runs the compiled DAG."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import apache_beam as beam
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from pipeline.beam_args import NO_PRISM


def _pipeline(**options: Any) -> beam.Pipeline:
    return beam.Pipeline(**{"argv": [NO_PRISM], **options})


# TFX's Beam orchestrator gives the pipeline that starts the components no options, not even
# those of the command line: Beam would ask github.com for Prism at each run.
beam_dag_runner.beam = SimpleNamespace(**{**vars(beam), "Pipeline": _pipeline})

RUNNERS = {"beam": beam_dag_runner.BeamDagRunner, "local": LocalDagRunner}
