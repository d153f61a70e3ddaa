"""`visionline submit`, against a stand-in that keeps what it is sent.

The API of Kubeflow Pipelines itself runs on clusters alone; its own client is what talks.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

from pipeline.kubeflow.submit import Submission, submit_run
from trainers.errors import ConfigError, RunError


class Api(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.created: list[dict[str, Any]] = []
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path.startswith("/apis/v2beta1/experiments"):
            self._answer({"experiments": [{"experiment_id": "e1", "display_name": "visionline"}]})
        else:
            self._answer({"multi_user": False})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.refuses:
            self._answer({"error": "no room"}, 400)
            return
        if self.path.startswith("/apis/v2beta1/runs"):
            self.server.created.append(body)
            self._answer({"run_id": "r1", **body})
        else:
            self._answer({"experiment_id": "e1", "display_name": body.get("display_name")})

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    @dsl.container_component
    def hello(times: int):
        return dsl.ContainerSpec(image="x", command=["echo"], args=[times])

    @dsl.pipeline(name="hello")
    def pipeline(epochs: int = 2):
        hello(times=epochs)

    path = tmp_path_factory.mktemp("submit") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path


def asked(package: Path, endpoint: str, **changes: Any) -> Submission:
    values = {"experiment": "visionline", "run_name": None, "pipeline_root": None, "parameters": {}}
    return Submission(package=package, endpoint=endpoint, **{**values, **changes})


def test_a_run_is_one_request_with_everything_in_it(api, package):
    run = submit_run(
        asked(package, api.url + "/", parameters={"epochs": 5}, pipeline_root="s3://b/root")
    )
    assert (run.id, run.name) == ("r1", "hello")
    assert run.url == f"{api.url}/#/runs/details/r1"
    (body,) = api.created
    assert body["pipeline_spec"]["pipelineInfo"] == {"name": "hello"}
    assert body["runtime_config"] == {"parameters": {"epochs": 5}, "pipeline_root": "s3://b/root"}


def test_an_endpoint_that_does_not_answer(package):
    with pytest.raises(RunError, match="Nothing was submitted"):
        submit_run(asked(package, "http://127.0.0.1:9"))


def test_an_endpoint_that_is_something_else(package, tmp_path):
    class NotFound(Handler):
        def do_GET(self) -> None:
            self._answer({}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(RunError, match="status 404"):
            submit_run(asked(package, f"http://127.0.0.1:{server.server_address[1]}"))
    finally:
        server.shutdown()
        server.server_close()


def test_a_refusal_is_told_and_nothing_is_there(api, package):
    api.refuses = True
    with pytest.raises(RunError, match="did not start the run"):
        submit_run(asked(package, api.url))
    assert api.created == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"epocs": 1}}, "no parameter 'epocs'"),
        ({"parameters": {"epochs": "many"}}, "expected NUMBER_INTEGER"),
        ({"endpoint": "localhost:8888"}, "expected http://"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(api, package, changes, message):
    with pytest.raises(ConfigError, match=message):
        submit_run(asked(package, **{"endpoint": api.url, **changes}))
    assert api.created == []
