"""The runners by name; each runs the compiled DAG."""

from __future__ import annotations

from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

RUNNERS = {"beam": BeamDagRunner, "local": LocalDagRunner}
