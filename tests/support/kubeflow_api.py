"""A stand-in for the API server of Kubeflow Pipelines 2.17, for its own client.

Answers, states and refusals have the form that the real one was seen to give, or that its
sources have: see backend/src/apiserver of kubeflow/pipelines.  The API itself runs on
clusters alone.
"""

from __future__ import annotations

import email
import email.message
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import yaml

NODE = "digits-x7k2p"
"""Name of the Argo workflow."""
NEVER = "1970-01-01T00:00:00Z"
LOGIN = "<!DOCTYPE html>\n<html><head><title>Log in to Example</title></head><body>…</body></html>"
PROXY = "<html>\r\n<head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>"


@dataclass(frozen=True)
class Refusal:
    """What a path is answered with instead."""

    status: int
    body: str = ""
    content_type: str = "application/json"


def refusal(status: int, code: int, message: str) -> Refusal:
    """As grpc-gateway writes an error of the API server."""
    told = {"error": message, "code": code, "message": message, "details": []}
    return Refusal(status, json.dumps(told))


@dataclass
class State:
    """What the server holds, and how it behaves."""

    token: str | None = None
    """Asked for where it is set, as is a namespace."""
    cookie: str | None = None
    namespaces: tuple[str, ...] = ()
    """Of several users; none: a single one."""
    ui: bool = False
    """Whether the UI is served too, as by the service ml-pipeline-ui."""
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    """By method and the start of the path."""
    away: int = 0
    """How many more requests for a run get no answer at all."""
    progress: list[dict[str, Any]] = field(default_factory=list)
    """A run as it is looked at, one after the other; the last stays."""
    workflow: dict[str, Any] | None = None
    """Of the run, that the older API shows; None: it is not served."""
    logs: dict[str, str] = field(default_factory=dict)
    """By pod."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""
    headers: list[Mapping[str, str]] = field(default_factory=list)


class Api(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.state = State()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(port: int = 0) -> Iterator[Api]:
    server = Api(port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        state = self.server.state
        state.asked.append((method, parts.path))
        state.headers.append(dict(self.headers.items()))
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        for (of, start), refused in state.refusals.items():
            if of == method and parts.path.startswith(start):
                return self._refuse(refused)
        if not self._known():
            return self._refuse(Refusal(403, "RBAC: access denied", "text/plain"))
        if parts.path.startswith("/apis/v2beta1/pipelines/upload"):
            return self._upload(parts.path, query, body)
        found = json.loads(body) if body else {}
        name = f"_{method.lower()}_{self._resource(parts.path)}"
        answer = getattr(self, name, self._nothing)
        answer(parts.path, query, found)

    def _known(self) -> bool:
        state = self.server.state
        if state.token is None and state.cookie is None:
            return True
        with_token = self.headers.get("Authorization") == f"Bearer {state.token}"
        with_cookie = self.headers.get("Cookie") == state.cookie
        return (state.token is not None and with_token) or (
            state.cookie is not None and with_cookie
        )

    @staticmethod
    def _resource(path: str) -> str:
        """Such as "v2beta1_runs" and, of one of them, "v2beta1_run"."""
        words = path.strip("/").split("/")
        if words[0] != "apis" or len(words) < 3:
            return "page"
        if words[-1] == "log":
            return "log"
        kind = words[2] if len(words) == 3 else words[2].rstrip("s")
        return f"{words[1]}_{kind}"

    def _nothing(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> None:
        self._refuse(Refusal(404, "404 page not found\n", "text/plain"))

    def _get_page(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> None:
        if self.server.state.ui and path == "/":
            self._send(200, b"<!DOCTYPE html><html></html>", "text/html; charset=utf-8")
        else:
            self._nothing(path, query, body)

    def _get_v2beta1_healthz(self, path: str, query: Any, body: Any) -> None:
        several = bool(self.server.state.namespaces)
        self._json({"commit_sha": "x", "tag_name": "2.17.0", "multi_user": several})

    def _get_v2beta1_experiments(self, path: str, query: Mapping[str, str], body: Any) -> None:
        if self._in_namespace(query.get("namespace")):
            name = _wanted(query)
            known = self.server.state.experiments
            self._json({"experiments": [known[name]]} if name in known else {})

    def _post_v2beta1_experiments(self, path: str, query: Any, body: dict[str, Any]) -> None:
        if self._in_namespace(body.get("namespace")):
            known = self.server.state.experiments
            made = {**body, "experiment_id": f"e{len(known) + 1}"}
            known[body["display_name"]] = made
            self._json(made)

    def _get_v2beta1_pipelines(self, path: str, query: Mapping[str, str], body: Any) -> None:
        if self._in_namespace(query.get("namespace")):
            found = self.server.state.pipelines.get(_wanted(query))
            self._json({"pipelines": [found], "total_size": 1} if found else {})

    def _post_v2beta1_pipelines(self, path: str, query: Any, body: dict[str, Any]) -> None:
        if self._in_namespace(body.get("namespace")):
            known = self.server.state.pipelines
            made = {**body, "pipeline_id": f"p{len(known) + 1}"}
            known[body["display_name"]] = made
            self._json(made)

    def _delete_v2beta1_pipeline(self, path: str, query: Any, body: Any) -> None:
        known = self.server.state.pipelines
        (name,) = (n for n, p in known.items() if p["pipeline_id"] == path.rpartition("/")[2])
        del known[name]
        self._json({})

    def _upload(self, path: str, query: Mapping[str, str], body: bytes) -> None:
        if not path.endswith("upload_version"):
            return self._nothing(path, query, {})
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = cast(
            "list[email.message.Message]", email.message_from_bytes(head + body).get_payload()
        )
        text = cast("bytes", part.get_payload(decode=True)).decode()
        state = self.server.state
        if any(v["display_name"] == query["name"] for v in state.versions):
            already = f"AlreadyExistsError: A pipeline version {query['name']} already exists"
            return self._refuse(refusal(409, 6, f"Failed to create a pipeline version: {already}"))
        made = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": f"v{len(state.versions) + 1}",
            "display_name": query["name"],
            "pipeline_spec": yaml.safe_load_all(text).__next__(),
        }
        state.versions.append(made)
        self._json(made)

    def _post_v2beta1_runs(self, path: str, query: Any, body: dict[str, Any]) -> None:
        self.server.state.runs.append(body)
        self._json({**body, "run_id": f"r{len(self.server.state.runs)}", "state": "PENDING"})

    def _post_v2beta1_recurringruns(self, path: str, query: Any, body: dict[str, Any]) -> None:
        known = self.server.state.recurring
        known.append(body)
        self._json({**body, "recurring_run_id": f"c{len(known)}", "status": "ENABLED"})

    def _get_v2beta1_run(self, path: str, query: Any, body: Any) -> None:
        state = self.server.state
        if state.away > 0:
            state.away -= 1
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        found = state.progress.pop(0) if len(state.progress) > 1 else state.progress[0]
        self._json({"run_id": path.rpartition("/")[2], **found})

    def _get_v1beta1_run(self, path: str, query: Any, body: Any) -> None:
        workflow = self.server.state.workflow
        if workflow is None:
            return self._nothing(path, query, body)
        self._json({"pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}})

    def _get_log(self, path: str, query: Any, body: Any) -> None:
        pod = path.split("/")[-2]
        if (log := self.server.state.logs.get(pod)) is not None:
            return self._send(200, log.encode(), "text/plain")
        told = {"error_message": f"Failed to read logs from pod {pod}", "error_details": "…"}
        self._refuse(Refusal(500, json.dumps(told)))

    def _in_namespace(self, namespace: str | None) -> bool:
        known = self.server.state.namespaces
        if not known or namespace in known:
            return True
        said = "Invalid input error: Namespace is required in multi-user mode"
        if namespace:
            said = f"PermissionDenied: User is not authorized in the namespace {namespace}"
        self._refuse(refusal(403 if namespace else 400, 7 if namespace else 3, said))
        return False

    def _json(self, body: Any) -> None:
        self._send(200, json.dumps(body).encode(), "application/json")

    def _refuse(self, refused: Refusal) -> None:
        self._send(refused.status, refused.body.encode(), refused.content_type)

    def _send(self, status: int, data: bytes, content_type: str) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/dex/auth")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


def _wanted(query: Mapping[str, str]) -> str:
    """The name that a filter asks for."""
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert (predicate["operation"], predicate["key"]) == (1, "display_name")
    name: str = predicate["stringValue"]
    return name


def run(state: str, *details: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A run as it is looked at."""
    return {"state": state, "run_details": {"task_details": list(details)}, **more}


def task(
    name: str, state: str, seconds: int | None = None, child: str | None = None
) -> list[dict[str, Any]]:
    """A task's details: its driver's, its own, and that of its container."""
    end = NEVER if seconds is None else f"2026-11-30T10:{seconds // 60:02}:{seconds % 60:02}Z"
    times = {"create_time": "2026-11-30T09:59:00Z", "start_time": "2026-11-30T10:00:00Z"}
    own = {"run_id": "r1", "state": state, "end_time": end, **times}
    children = [] if child is None else [{"pod_name": f"{NODE}-{child}"}]
    return [
        {**own, "display_name": f"{name}-driver", "state": "SUCCEEDED"},
        {**own, "display_name": name, "child_tasks": children},
        {**own, "display_name": "executor"},
    ]


def node(path: str, number: str, phase: str, **more: Any) -> dict[str, Any]:
    """A node of the workflow, by its id."""
    id_ = f"{NODE}-{number}"
    template = "system-container-driver" if path.endswith("-driver") else "system-container-impl"
    found = {"id": id_, "name": f"{NODE}.root.{path}", "type": "Pod", "phase": phase}
    return {id_: {**found, "templateName": template, "finishedAt": "2026-11-30T10:01:00Z", **more}}


def workflow(*nodes: dict[str, Any]) -> dict[str, Any]:
    """As the older API shows it."""
    found: dict[str, Any] = {}
    for one in nodes:
        found |= one
    return {
        "metadata": {"name": NODE, "namespace": "kubeflow"},
        "status": {"phase": "Running", "nodes": found},
    }
