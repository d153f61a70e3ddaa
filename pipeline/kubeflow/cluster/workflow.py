"""The Argo workflow that a run on Kubeflow Pipelines is, which only the older API shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from pipeline.kubeflow.cluster.api import Api, one_line

Nodes = Mapping[str, Mapping[str, Any]]
"""Of a workflow, by id."""


class Node(NamedTuple):
    """A pod of a task."""

    message: str
    pod: str


class Workflow:
    """The workflow of a run, where the API still shows it; asked for when a task has ended."""

    def __init__(self, api: Api, run_id: str) -> None:
        self._api = api
        self._run_id = run_id
        self._served = True
        self.namespace: str | None = None

    def cached(self, task: str) -> bool:
        """Returns whether the task's container was not needed."""
        executors = self._of(task, ("executor",))
        return bool(executors) and all(n.get("phase") == "Skipped" for _, n in executors)

    def last_pod(
        self, task: str, phases: Sequence[str], kinds: Sequence[str] = ("executor",)
    ) -> Node | None:
        """Returns the last of a task's pods that ended so."""
        pods = [
            (id_, node)
            for id_, node in self._of(task, kinds)
            if node.get("type") == "Pod" and node.get("phase") in phases
        ]
        if not pods:
            return None
        id_, node = max(pods, key=lambda pod: str(pod[1].get("finishedAt") or ""))
        start, _, number = id_.rpartition("-")
        # As Argo names pods, see RetrievePodName in Kubeflow's backend/src/common/util.
        pod = f"{start}-{node['templateName']}-{number}" if node.get("templateName") else id_
        return Node(one_line(node.get("message")), pod)

    def _of(self, task: str, kinds: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Returns a task's nodes: of its driver and its container, which is tried several times."""
        ends = {
            "executor": rf"\.{re.escape(task)}\.executor(\(\d+\))?$",
            "driver": rf"\.{re.escape(task)}-driver$",
        }
        wanted = re.compile("|".join(ends[kind] for kind in kinds))
        nodes = self._nodes()
        return [(i, n) for i, n in nodes.items() if wanted.search(str(n.get("name", "")))]

    def _nodes(self) -> Nodes:
        if not self._served:
            return {}
        try:
            answer = self._api.ask(f"/apis/v1beta1/runs/{quote(self._run_id, safe='')}")
        except OSError:
            return {}
        if answer.table is None:
            self._served = False
            return {}
        runtime = answer.table.get("pipeline_runtime") or {}
        try:
            workflow = json.loads(runtime.get("workflow_manifest") or "{}")
        except ValueError:
            return {}
        self.namespace = (workflow.get("metadata") or {}).get("namespace")
        nodes: Nodes = (workflow.get("status") or {}).get("nodes") or {}
        return nodes
