"""Waits for a run on Kubeflow Pipelines, and finds out why it failed.

The API shows a run as the nodes of an Argo workflow: for each task `NAME-driver`, which
looks into the cache, then `NAME` with its container in a node `executor`.  It tells the
state of each, and neither a reason nor which pod it was; for these see `workflow`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from common.errors import RunError
from pipeline.kubeflow.cluster.api import Api, one_line, plain
from pipeline.kubeflow.cluster.workflow import Workflow

SECONDS_BETWEEN = 3.0
_LOG_BYTES = 1 << 16
_LOG_LINES = 20
_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_WORDS = {
    "PENDING": "pending",
    "RUNNING": "running",
    "PAUSED": "running",
    "CANCELING": "running",
    "SUCCEEDED": "done",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELED": "stopped",
}
_OWN = re.compile(r"^(?:\S+Z )?visionline: (.*)")
"""What a task of ours says of its failure, see `pipeline.kubeflow.entrypoint`."""
_PUSHER = "pusher"
_PUSHED = re.compile(r"^(?:\S+Z )?((?:Pushed |Nothing new to push: ).* version \d+ .*)")
_NOT_PUSHED = re.compile(r"^(?:\S+Z )?(\S.* is not pushed: .*)")
"""What the Pusher says of the model, see `components.pusher`."""

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A task that failed."""

    task: str
    reason: str
    """As the container said it, or Kubernetes; "" where the API tells nothing."""
    log: tuple[str, ...]
    """The end of its pod's log, as far as the API hands it over."""
    pod: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a run ended."""

    state: str
    """SUCCEEDED, FAILED, CANCELED or SKIPPED."""
    error: str
    failures: tuple[Failure, ...]
    namespace: str | None
    """That its pods are in, where the API tells."""
    pushed: tuple[str, ...] = ()
    """What the task `pusher` of a run that succeeded said of a model that it pushed."""
    not_pushed: tuple[str, ...] = ()
    """And of one that it did not."""


def wait(
    api: Api, run_id: str, tasks: Sequence[str], report: Report, between: float = SECONDS_BETWEEN
) -> Finished:
    """Waits until a run has ended.

    While the API is away the run is asked for again and again.

    Args:
      tasks: names, in the order they are shown in.
      report: hears the events that `pipeline.run.display` shows.
      between: seconds between two looks.

    Raises:
      RunError: the API refuses to say more.
    """
    shown = dict.fromkeys(tasks, "waiting")
    return _Waiting(api, run_id, shown, report, between, Workflow(api, run_id)).to_the_end()


@dataclass(slots=True)
class _Waiting:
    _api: Api
    _run_id: str
    _shown: dict[str, str]
    """The word by task."""
    _report: Report
    _between: float
    _workflow: Workflow
    _away: bool = False

    def to_the_end(self) -> Finished:
        self._report({"kind": "nodes", "nodes": list(self._shown)})
        while True:
            run = self._look()
            state = "" if run is None else str(run.get("state", ""))
            if run is not None:
                self._show(_details(run), state in _ENDED)
                if state in _ENDED:
                    return self._finished(run, state)
            time.sleep(self._between)

    def _look(self) -> dict[str, Any] | None:
        """Returns the run as it is; None: the API is away."""
        try:
            answer = self._api.ask(f"/apis/v2beta1/runs/{quote(self._run_id, safe='')}")
        except OSError as e:
            self._gone(str(getattr(e, "reason", e)))
            return None
        if answer.status >= 500 or answer.status == 429:
            self._gone(answer.refusal)
            return None
        if answer.table is None:
            refused = answer.status != 200
            why = answer.refusal if refused else f"it answered {answer.content_type}"
            raise RunError(
                f"{self._api.endpoint} does not tell about the run any more: {why}. "
                f"Waiting ends here; the run {self._run_id} does not."
            )
        if self._away:
            self._away = False
            self._report({"kind": "note", "text": "The API answers again."})
        return answer.table

    def _gone(self, why: str) -> None:
        if not self._away:
            self._away = True
            text = f"The API is away ({why}); asking again until it is back. The run goes on."
            self._report({"kind": "note", "text": text})

    def _show(self, details: Mapping[str, Mapping[str, Any]], ended: bool) -> None:
        for task, before in self._shown.items():
            word, seconds = _state(task, details, ended)
            if word == before or (word == "done" and before == "cached"):
                continue
            if word == "done" and self._workflow.cached(task):
                word, seconds = "cached", None
            self._shown[task] = word
            self._report({"kind": "node", "node": task, "state": word, "seconds": seconds})

    def _finished(self, run: Mapping[str, Any], state: str) -> Finished:
        failed = [t for t, word in self._shown.items() if word == "failed"]
        details = _details(run)
        lines = self._said_by_pusher(details) if state == "SUCCEEDED" else ()
        return Finished(
            state=state,
            error=_message(run),
            failures=tuple(self._failure(task, details) for task in failed),
            namespace=self._workflow.namespace if failed else None,
            pushed=tuple(m[1] for line in lines if (m := _PUSHED.match(line))),
            not_pushed=tuple(m[1] for line in lines if (m := _NOT_PUSHED.match(line))),
        )

    def _said_by_pusher(self, details: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        node = self._workflow.last_pod(_PUSHER, ("Succeeded",))
        return self._log([node.pod] if node else _pods(details.get(_PUSHER, {})))[1]

    def _failure(self, task: str, details: Mapping[str, Mapping[str, Any]]) -> Failure:
        node = self._workflow.last_pod(task, ("Failed", "Error"), ("executor", "driver"))
        pods = [node.pod] if node else _pods(details.get(task, {}))
        pod, log = self._log(pods)
        own = [m[1] for line in log if (m := _OWN.match(line))]
        reason = _message(details.get(task, {})) or (node.message if node else "")
        return Failure(task=task, reason=own[-1] if own else reason, log=log[-_LOG_LINES:], pod=pod)

    def _log(self, pods: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
        """Returns the pod whose log the API has, and the end of that log."""
        for pod in pods:
            path = f"/apis/v1alpha1/runs/{quote(self._run_id, safe='')}/nodes/{quote(pod)}/log"
            try:
                answer = self._api.ask(path, last=_LOG_BYTES)
            except OSError:
                continue
            if answer.status == 200 and answer.content_type == "text/plain":
                return pod, tuple(map(plain, answer.text.rstrip().splitlines()))
        return (pods[0] if pods else None), ()


def _details(run: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns what is told of the tasks, by name."""
    details = (run.get("run_details") or {}).get("task_details") or ()
    return {str(d.get("display_name", "")): d for d in details}


def _state(
    task: str, details: Mapping[str, Mapping[str, Any]], ended: bool
) -> tuple[str, float | None]:
    """Returns a task's word, and how many seconds it took."""
    own, driver = details.get(task), details.get(f"{task}-driver")
    state = "" if own is None else str(own.get("state", ""))
    if driver is not None and driver.get("state") == "FAILED":
        own, state = driver, "FAILED"
    word = _WORDS.get(state) or ("waiting" if driver is None else "pending")
    if ended and word in ("waiting", "pending", "running"):
        return ("stopped" if word == "running" else "skipped"), None
    return word, _seconds(own) if own and state in ("SUCCEEDED", "FAILED") else None


def _seconds(detail: Mapping[str, Any]) -> float | None:
    try:
        began, ended = (
            datetime.fromisoformat(str(detail.get(key))) for key in ("start_time", "end_time")
        )
        seconds = (ended - began).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None


def _message(detail: Mapping[str, Any]) -> str:
    error = detail.get("error")
    return one_line(error.get("message")) if isinstance(error, dict) else ""


def _pods(detail: Mapping[str, Any]) -> list[str]:
    """Returns what a task's pod may be called, where the workflow is not shown.

    A child is told by its node's id, WORKFLOW-NUMBER; its pod has the template in between.
    """
    children: Iterable[Mapping[str, Any]] = detail.get("child_tasks") or ()
    ids = [str(i) for i in (detail.get("pod_name"), *(c.get("pod_name") for c in children)) if i]
    parts = [id_.rpartition("-") for id_ in ids]
    templates = ("system-container-impl", "retry-system-container-impl")
    return ids + [f"{start}-{t}-{number}" for start, _, number in parts for t in templates]
