"""The tasks: what a model is asked to tell of an image.

One module each, with the same names (`modelstore.tasks.contract.Task`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstore.tasks import classification
from modelstore.tasks.contract import Task

DEFAULT = classification.NAME
TASKS: Mapping[str, Task] = {classification.NAME: classification}


def task_of(config: Mapping[str, Any]) -> Task:
    """Returns the task of a resolved `TrainConfig`; older ones do not say that they classify."""
    return TASKS[config.get("task", DEFAULT)]
