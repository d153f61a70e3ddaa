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
from trainers.artifact import SERVING_FORMAT, ModelCard, PushManifest
from trainers.errors import DataError
from trainers.versions import damage, list_versions


def find_data(io: TaskIO) -> None:
    """The span, version and fingerprint of the data, as ImageExampleGen's driver finds them.

    Raises:
      DataError: it is not there, or cannot be listed.
    """
    from components.example_gen.resolve import resolve

    changes = {k: v for k, v in io.parameters.items() if k != "config"}
    config = json.dumps(overridden(json.loads(io.parameters["config"]), changes))
    io.give(RESOLVED, json.dumps(resolve(config), sort_keys=True))


def find_baseline(io: TaskIO) -> None:
    """The newest version that is whole, made by another model and comparable; or ""."""
    folder = Path(io.parameters["destination"]) / io.parameters["name"]
    candidate = io.inputs["candidate"]
    found = ""
    for version in reversed(list_versions(folder)):
        directory = folder / str(version)
        try:
            if PushManifest.read(directory).model_uri == candidate.uri or damage(directory):
                continue
            old = set(ModelCard.read(directory).class_names)
        except DataError as e:
            print(f"Version {version} is no baseline: {e}")
            continue
        new = set(ModelCard.read(candidate.path / SERVING_FORMAT).class_names)
        if old == new:
            found = str(directory)
        else:
            print(f"Version {version} is no baseline: its classes differ by {sorted(old ^ new)}.")
        break
    print(f"Baseline: {found or 'none'}")
    io.give(BASELINE, found)
