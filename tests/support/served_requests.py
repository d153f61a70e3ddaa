"""Requests as a server answers them, for the request log."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from modelstore.tasks import task_of
from serving.answer import Answer
from serving.config import RequestLogConfig
from serving.logs.request_log import RequestLog

CLASSES = tuple("0123456789")


def request(images: Any, labels: Iterable[str], request_id: str = "") -> tuple[Any, Answer, str]:
    """A request's images, an answer that gives each its label with a score of 0.91, and an id."""
    indices = [CLASSES.index(label) for label in labels]
    scores = np.full((len(indices), len(CLASSES)), 0.01, np.float32)
    scores[np.arange(len(indices)), indices] = 0.91
    digits: dict[str, Any] = {"name": "digits", "version": 3, "class_names": CLASSES}
    answer = Answer(**digits, scores_NC=scores, engine="onnx", task=task_of({}), depth=16)
    return images, answer, request_id


def log_all(folder: Path, images: Iterable[tuple[bytes, str]]) -> None:
    """A folder as a server that logs everything leaves it."""
    import tensorflow  # noqa: F401 - a server has it by then

    log = RequestLog(RequestLogConfig(folder=str(folder), sample=1.0))
    for encoded, label in images:
        log(*request([encoded], [label]))
    log.close()
    assert log.counts.logged and not log.counts.dropped
