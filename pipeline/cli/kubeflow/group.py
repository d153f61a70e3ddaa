"""`visionline kubeflow …`."""

from __future__ import annotations

from pipeline.cli.group import Group

_HERE = "pipeline.cli.kubeflow"


class Kubeflow(Group):
    """Compile the pipeline for Kubeflow Pipelines 2, and run it here or on a cluster."""

    places = {
        "compile": (f"{_HERE}.compile:compile_", "Compile the pipeline to one file."),
        "run": (f"{_HERE}.run:run", "Run a compiled pipeline on this machine."),
        "submit": (f"{_HERE}.submit:submit", "Start a run of a compiled pipeline on a cluster."),
    }
