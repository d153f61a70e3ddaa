"""What a run depends on and no cache may answer: the data, and the model pushed before.

Kubeflow Pipelines takes a task's outputs from its cache when its inputs are the same, and
a path is the same whatever lies there.  So these are tasks of their own, never cached, and
what they find is an input of the tasks that are.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from common.config.strict import dump
from common.errors import RunError
from modelstore.artifact import SERVING_FORMAT
from modelstore.baseline import OFF, find_baseline
from pipeline.kubeflow.parts import PART
from pipeline.kubeflow.step import BASELINE, RESOLVED, overridden
from pipeline.kubeflow.task.io import TaskIO, put


def find_data(io: TaskIO) -> None:
    """Finds the span, version and fingerprint of the data, as ImageExampleGen's driver does.

    Raises:
      DataError: it is not there, or cannot be listed.
      RunError: the volume that models are pushed to cannot be written.
    """
    from components.example_gen.resolve import resolve

    try_to_write(Path(io.parameters["destination"]))
    changes = {k: v for k, v in io.parameters.items() if k not in ("config", "destination")}
    config = json.dumps(overridden(json.loads(io.parameters["config"]), changes))
    io.give(RESOLVED, json.dumps(resolve(config), sort_keys=True))


def hand_on(io: TaskIO) -> None:
    """Writes a part of a long text into a file, see `pipeline.kubeflow.parts`."""
    put(io.outputs[PART].path, io.parameters[PART].encode())


def try_to_write(folder: Path) -> None:
    """Writes a file where models will be pushed, and takes it away.

    The push is the last task, and a claim that nobody has written to belongs to root.

    Raises:
      RunError: it cannot; says as whom, and what to do about it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise RunError(
            f"push.destination: expected a folder that user {os.geteuid()}, group "
            f"{os.getegid()} can write to, and {folder} is none: {e.strerror}. Nothing was "
            "done. Give the claim to that user, or have the cluster's admin set fsGroup for "
            "all tasks: docs/kubeflow.md, A claim that can be written."
        ) from None


def find_served(io: TaskIO) -> None:
    """Finds what the candidate is compared with, as EvaluatorDriver finds it on other runners."""
    baseline = OFF
    if io.parameters["baseline"] != "none":
        folder = Path(io.parameters["destination"]) / io.parameters["name"]
        baseline = find_baseline(folder, io.inputs["candidate"].path / SERVING_FORMAT)
    print(f"Baseline: {baseline}")
    io.give(BASELINE, json.dumps(dump(baseline), sort_keys=True))
