"""Optional: a training's figures in MLflow, beside the record that is kept anyway.

A server that is slow or away costs a training nothing but these figures: they are sent by a
thread, and what cannot be sent is said once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.formats import flat
from trainers.curves import scalars
from trainers.loop import Epoch

VARIABLE = "VISIONLINE_MLFLOW"
"""The environment's name for the URI of MLflow's server."""
_LAST_SECONDS = 15.0
"""So long the end of a training waits for what is still to be sent."""
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Of MLflow's client, unless the environment says otherwise; its own is minutes."""
_LONGEST = 6000
_MOST = 100
"""Characters of a parameter, and parameters of a request, that MLflow takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Where a training's figures go, besides its own record."""

    uri: str
    """Of a tracking server, such as http://localhost:5000, or whatever else MLflow takes."""
    experiment: str
    """The name of MLflow's experiment; made if it is not there."""
    run: str
    """The name of MLflow's run, and its tag visionline.run_id."""

    @classmethod
    def asked(cls, experiment: str, run: str) -> Tracking | None:
        """Returns what the environment asks for; None where that is nothing."""
        uri = os.environ.get(VARIABLE)
        return cls(uri=uri, experiment=experiment, run=run) if uri else None


@contextlib.contextmanager
def tracked(
    tracking: Tracking | None,
    *,
    parameters: Mapping[str, Any],
    headline: str,
    files: tuple[Path, ...],
    warn: Callable[[str], None],
) -> Iterator[Callable[[Epoch], None]]:
    """Yields what takes each epoch of a training.

    Args:
      tracking: None: nothing is sent anywhere.
      files: those of them that are there when the training ends are sent, too.
    """
    if tracking is None:
        yield lambda epoch: None
        return
    run = MlflowRun(tracking, parameters=parameters, headline=headline, warn=warn)
    try:
        yield run.write
    except BaseException:
        run.close(ended_well=False, files=files)
        raise
    run.close(ended_well=True, files=files)


class MlflowRun:
    """One training as a run of MLflow.

    Args:
      parameters: tables in tables, as a config is dumped.
      warn: takes a sentence, at most once.
    """

    def __init__(
        self,
        tracking: Tracking,
        *,
        parameters: Mapping[str, Any],
        headline: str,
        warn: Callable[[str], None],
    ) -> None:
        self._tracking, self._headline, self._warn = tracking, headline, warn
        self._client: Any = None
        self._run_id = ""
        self._lost = False
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._tasks.put(lambda: self._begin(parameters))
        self._thread.start()

    def write(self, epoch: Epoch) -> None:
        """Sends an epoch's figures, under the names that they have in TensorBoard."""
        now = int(time.time() * 1000)
        self._tasks.put(lambda: self._log(epoch, now))

    def close(self, *, ended_well: bool, files: tuple[Path, ...] = ()) -> None:
        """Sends files and how the training ended; waits some seconds for it, and no longer."""
        self._tasks.put(lambda: self._end("FINISHED" if ended_well else "FAILED", files))
        self._tasks.put(None)
        self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive() and not self._lost:
            self._lose("it did not answer in time")

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._lost:
                continue
            try:
                task()
            except Exception as e:  # whatever MLflow and its HTTP client raise
                self._lose(" ".join(str(e).split()) or type(e).__name__)

    def _lose(self, reason: str) -> None:
        self._lost = True
        uri, reason = self._tracking.uri, reason[:300]
        self._warn(f"MLflow at {uri} has not got all of this training's figures: {reason}")

    def _begin(self, parameters: Mapping[str, Any]) -> None:
        for variable, value in _PATIENCE.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        experiment, run = self._tracking.experiment, self._tracking.run
        self._client = MlflowClient(self._tracking.uri)
        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            with contextlib.suppress(MlflowException):  # another training was faster
                self._client.create_experiment(experiment)
            found = self._client.get_experiment_by_name(experiment)
        if found is None:
            raise ConfigError(f"the experiment {experiment!r} could not be made")
        tags = {"visionline.run_id": run}
        created = self._client.create_run(found.experiment_id, tags=tags, run_name=run)
        self._run_id = created.info.run_id
        params = [Param(key, value[:_LONGEST]) for key, value in flat(parameters)]
        for start in range(0, len(params), _MOST):
            self._client.log_batch(self._run_id, params=params[start : start + _MOST])

    def _log(self, epoch: Epoch, now: int) -> None:
        from mlflow.entities import Metric

        figures = scalars(epoch, self._headline)
        metrics = [Metric(tag, value, now, epoch.epoch) for tag, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _end(self, status: str, files: tuple[Path, ...]) -> None:
        for file in files:
            if file.is_file():
                self._client.log_artifact(self._run_id, str(file))
        self._client.set_terminated(self._run_id, status)
