"""What a run depends on and no cache may answer: the data, and the model pushed before.

Kubeflow Pipelines takes a task's outputs from its cache when its inputs are the same, and
a path is the same whatever lies there.  So these are tasks of their own, never cached, and
what they find is an input of the tasks that are.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.kubeflow.step import BASELINE, RESOLVED, overridden
from pipeline.kubeflow.task_io import TaskIO
from trainers.artifact import SERVING_FORMAT
from trainers.baseline import OFF, find_baseline
from trainers.strict import dump


def find_data(io: TaskIO) -> None:
    """The span, version and fingerprint of the data, as ImageExampleGen's driver finds them.

    Raises:
      DataError: it is not there, or cannot be listed.
    """
    from components.example_gen.resolve import resolve

    changes = {k: v for k, v in io.parameters.items() if k != "config"}
    config = json.dumps(overridden(json.loads(io.parameters["config"]), changes))
    io.give(RESOLVED, json.dumps(resolve(config), sort_keys=True))


def find_served(io: TaskIO) -> None:
    """What the candidate is compared with, as EvaluatorDriver finds it on other runners."""
    found = OFF
    if io.parameters["baseline"] != "none":
        folder = Path(io.parameters["destination"]) / io.parameters["name"]
        found = find_baseline(folder, io.inputs["candidate"].path / SERVING_FORMAT)
    print(f"Baseline: {found}")
    io.give(BASELINE, json.dumps(dump(found), sort_keys=True))
