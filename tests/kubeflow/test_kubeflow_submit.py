"""`visionline kubeflow submit`: what Kubeflow's own client sends to a stand-in for the API."""

import json
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubeflow_api
import pytest
import yaml
from certificates import Authority
from helpers import ROOT, python
from kfp import compiler, dsl
from kubeflow_api import LOGIN, PROXY, Api, Refusal, refusal

from common.errors import ConfigError, RunError
from pipeline.kubeflow.cluster import api as client_api
from pipeline.kubeflow.cluster.api import Secret
from pipeline.kubeflow.cluster.submit import Schedule, Submission, submit
from pipeline.kubeflow.parts import text_of
from pipeline.kubeflow.step import CONFIG, RELEASE
from pipeline.kubeflow.words import unpacked

GOLDEN = ROOT / "tests" / "golden" / "kubeflow.yaml"
NEVER_CACHED = {"resolve-data", "baseline", "pusher"}
REFUSED = (
    "Failed to create a new run.: InvalidInputError: unknown template format: pipeline spec is "
    "invalid"
)


@pytest.fixture
def api() -> Iterator[Api]:
    with kubeflow_api.serving() as server:
        yield server


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor a context of the person who runs this."""
    for name in [n for n in os.environ if n.startswith(("KFP_", "KF_PIPELINES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    @dsl.container_component
    def hello(times: int):  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(image="x", command=["echo"], args=[times])

    @dsl.pipeline(name="hello")
    def pipeline(epochs: int = 2) -> None:
        hello(times=epochs)

    path = tmp_path_factory.mktemp("submit") / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return path


def asking(server: Api, **who: Any) -> client_api.Api:
    return client_api.Api(endpoint=server.url + "/", **who)


def cached(body: dict[str, Any]) -> dict[str, bool]:
    spec = body["pipeline_spec"]
    tasks = spec.get("pipeline_spec", spec)["root"]["dag"]["tasks"]
    return {n: t.get("cachingOptions", {}).get("enableCache", False) for n, t in tasks.items()}


def test_a_run_is_one_request_with_everything_in_it(api: Api, package: Path) -> None:
    asked = Submission(package=package, parameters={"epochs": 5}, pipeline_root="s3://b/root")
    sent = submit(asked, asking(api))
    assert (sent.id, sent.name, sent.version) == ("r1", "hello", None)
    (body,) = api.state.runs
    assert body["pipeline_spec"]["pipelineInfo"] == {"name": "hello"}
    assert body["runtime_config"] == {"parameters": {"epochs": 5}, "pipeline_root": "s3://b/root"}
    assert body["experiment_id"] == api.state.experiments["visionline"]["experiment_id"]


def test_the_compiled_pipeline_root_is_sent(api: Api) -> None:
    """The backend itself leaves a spec's default aside."""
    submit(Submission(package=GOLDEN), asking(api))
    submit(Submission(package=GOLDEN, pipeline_root="gs://other/root"), asking(api))
    roots = [body["runtime_config"]["pipeline_root"] for body in api.state.runs]
    assert roots == ["s3://bucket/artifacts", "gs://other/root"]


def test_a_run_has_a_service_account(api: Api, package: Path) -> None:
    submit(Submission(package=package, service_account="team-a.editor"), asking(api))
    assert api.state.runs[0]["service_account"] == "team-a.editor"
    with pytest.raises(ConfigError, match="--service-account: expected the name"):
        Submission(package=package, service_account="A b")


def test_any_key_of_the_config_can_be_given(api: Api, tmp_path: Path) -> None:
    package = tmp_path / "pipeline.yaml"
    package.write_text(GOLDEN.read_text().replace("<release>", RELEASE))
    asked = {"train.batch_size": 7, "train.seed": 3, "data.path": "/mnt/visionline/$$a"}
    sent = submit(Submission(package=package, parameters=asked), asking(api))
    (body,) = api.state.runs
    spec = body["pipeline_spec"]
    recorded = json.loads(text_of(spec.get("pipeline_spec", spec), "pusher", CONFIG))
    assert recorded["train"]["batch_size"] == 7
    assert set(sent.tasks) == set(spec.get("pipeline_spec", spec)["root"]["dag"]["tasks"])
    values = body["runtime_config"]["parameters"]
    assert values["seed"] == 3 and unpacked(values["data_path"]) == "/mnt/visionline/$$a"
    assert "$" not in json.dumps(body["runtime_config"])


def test_the_cache_is_left_as_compiled_or_not_taken(api: Api) -> None:
    """`kfp` could only set it for all tasks, and then for those that are never cached too."""
    submit(Submission(package=GOLDEN), asking(api))
    submit(Submission(package=GOLDEN, caching=False), asking(api))
    compiled, without = map(cached, api.state.runs)
    assert {name for name, takes in compiled.items() if not takes} == NEVER_CACHED
    assert set(without.values()) == {False} and without.keys() == compiled.keys()


def test_an_experiment_is_made_once(api: Api, package: Path) -> None:
    for _ in range(2):
        submit(Submission(package=package, experiment="digits"), asking(api))
    assert api.state.asked.count(("POST", "/apis/v2beta1/experiments")) == 1
    assert {body["experiment_id"] for body in api.state.runs} == {"e1"}


def test_a_version_is_uploaded_and_run(api: Api) -> None:
    asked = Submission(package=GOLDEN, pipeline="digits", version="first", parameters={"epochs": 9})
    assert submit(asked, asking(api)).version == "first of digits"
    again = submit(Submission(package=GOLDEN, pipeline="digits"), asking(api))
    assert again.version is not None and again.version.startswith("digits-20")
    assert list(api.state.pipelines) == ["digits"]
    first, second = api.state.versions
    assert first["pipeline_spec"] == next(yaml.safe_load_all(GOLDEN.read_text()))
    assert {v["pipeline_id"] for v in (first, second)} == {"p1"}
    body = api.state.runs[0]
    reference = {"pipeline_id": "p1", "pipeline_version_id": "v1"}
    assert body["pipeline_version_reference"] == reference and "pipeline_spec" not in body
    assert body["runtime_config"]["parameters"]["epochs"] == 9
    assert body["runtime_config"]["pipeline_root"] == "s3://bucket/artifacts"


def test_a_version_of_a_name_that_is_taken(api: Api) -> None:
    asked = Submission(package=GOLDEN, pipeline="digits", version="first")
    submit(asked, asking(api))
    with pytest.raises(RunError, match=r"version first already exists \(status 409\)"):
        submit(asked, asking(api))
    assert len(api.state.runs) == 1 and list(api.state.pipelines) == ["digits"]


def test_a_pipeline_whose_first_version_is_refused_is_not_left(api: Api) -> None:
    api.state.refusals["POST", "/apis/v2beta1/pipelines/upload"] = refusal(400, 3, "no")
    with pytest.raises(RunError, match="no"):
        submit(Submission(package=GOLDEN, pipeline="digits"), asking(api))
    assert api.state.pipelines == {} and api.state.runs == []


@pytest.mark.parametrize(
    ("schedule", "trigger"),
    [
        (Schedule(cron="0 30 3 * * *"), {"cron_schedule": {"cron": "0 30 3 * * *"}}),
        (Schedule(every=3600), {"periodic_schedule": {"interval_second": 3600}}),
    ],
)
def test_a_recurring_run(api: Api, schedule: Schedule, trigger: dict[str, Any]) -> None:
    asked = Submission(package=GOLDEN, schedule=schedule, name="nightly", caching=False)
    sent = submit(asked, asking(api))
    assert (sent.id, sent.name) == ("c1", "nightly")
    (body,) = api.state.recurring
    assert body["trigger"] == trigger
    assert body["mode"] == "ENABLE" and body["no_catchup"] is True
    assert body["max_concurrency"] == 1
    assert body["runtime_config"]["pipeline_root"] == "s3://bucket/artifacts"
    assert set(cached(body).values()) == {False}
    assert api.state.runs == []


def test_a_recurring_run_of_a_version(api: Api) -> None:
    submit(Submission(package=GOLDEN, pipeline="digits", schedule=Schedule(every=60)), asking(api))
    (body,) = api.state.recurring
    reference = {"pipeline_id": "p1", "pipeline_version_id": "v1"}
    assert body["pipeline_version_reference"] == reference and "pipeline_spec" not in body


def test_several_users_with_a_token(
    api: Api, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.state.token, api.state.namespaces = "s3cret", ("team-a",)
    (tmp_path / "token").write_text("s3cret\n")
    from_file = Secret("token", "KFP_TOKEN", tmp_path / "token")
    submit(Submission(package=package), asking(api, namespace="team-a", token=from_file))
    monkeypatch.setenv("KFP_TOKEN", "s3cret")
    asked = Submission(package=package, pipeline="digits")
    submit(asked, asking(api, namespace="team-a"))
    assert api.state.experiments["visionline"]["namespace"] == "team-a"
    assert api.state.pipelines["digits"]["namespace"] == "team-a"
    assert len(api.state.runs) == 2


def test_several_users_with_a_cookie(api: Api, package: Path, tmp_path: Path) -> None:
    api.state.cookie, api.state.namespaces = "oauth2_proxy_kubeflow=abc", ("team-a",)
    (tmp_path / "cookie").write_text("oauth2_proxy_kubeflow=abc")
    cookie = Secret("cookie", "KFP_COOKIE", tmp_path / "cookie")
    submit(Submission(package=package), asking(api, namespace="team-a", cookie=cookie))
    assert len(api.state.runs) == 1


def test_a_token_that_is_not_taken(
    api: Api, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.state.token = "s3cret"
    told = r"asks who you are: RBAC: access denied \(status 403\).*--token-file.*--cookie-file"
    for value in ("", "another"):
        monkeypatch.setenv("KFP_TOKEN", value)
        with pytest.raises(RunError, match=told) as raised:
            submit(Submission(package=package), asking(api))
        assert "another" not in str(raised.value)


def test_a_redirect_to_a_login_is_not_followed(
    api: Api, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_TOKEN", "s3cret")
    api.state.refusals["GET", "/apis"] = Refusal(302, "", "text/html")
    with pytest.raises(RunError, match="asks who you are: Found"):
        submit(Submission(package=package), asking(api))
    assert [path for _, path in api.state.asked] == ["/apis/v2beta1/healthz"]


@pytest.mark.parametrize(
    ("namespace", "error", "message"),
    [
        (None, ConfigError, "has several users: expected --namespace"),
        ("team-b", RunError, r"not authorized in the namespace team-b \(status 403\)"),
    ],
)
def test_a_namespace_that_is_not_one_s_own(
    api: Api, package: Path, namespace: str | None, error: type[Exception], message: str
) -> None:
    api.state.namespaces = ("team-a",)
    with pytest.raises(error, match=message):
        submit(Submission(package=package), asking(api, namespace=namespace))
    assert api.state.runs == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a token, got an empty file"),
        (b"one\ntwo", "expected a token on one line"),
        (b"\xff\xfe", "got what is no text"),
        (None, "Cannot read the token"),
    ],
)
def test_a_token_file_that_cannot_be_used(
    api: Api, package: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as raised:
        submit(Submission(package=package), asking(api, token=Secret("token", "KFP_TOKEN", file)))
    assert "one two" not in str(raised.value) and api.state.asked == []


def test_a_certificate_of_one_s_own_authority(
    api: Api, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    api.socket = tls.wrap_socket(api.socket, server_side=True)
    secure = client_api.Api(endpoint=api.url.replace("http:", "https:"))
    with pytest.raises(RunError, match="CERTIFICATE_VERIFY_FAILED"):
        submit(Submission(package=package), secure)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pair.certificate))
    assert submit(Submission(package=package), secure).id == "r1"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://x:port", "http://:"])
def test_an_endpoint_that_does_not_answer(package: Path, endpoint: str) -> None:
    with pytest.raises(RunError, match=r"does not answer at http:/.*: .*Nothing was submitted"):
        submit(Submission(package=package), client_api.Api(endpoint=endpoint))


def test_a_port_that_speaks_no_http(package: Path) -> None:
    """Such as 8887 of the same service, for gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"\0\0\x18\4\0\0\0\0\0\n")

        threading.Thread(target=greet, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RunError, match=r"what is there does not speak HTTP\. Nothing was"):
            submit(Submission(package=package), client_api.Api(endpoint=endpoint))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Refusal(404, "{}"), "with Not Found .status 404."),
        (Refusal(502, PROXY, "text/html"), "a web page '502 Bad Gateway', not the API's JSON"),
        (Refusal(200, LOGIN, "text/html"), "with text/html, not JSON"),
    ],
)
def test_an_endpoint_that_is_something_else(
    api: Api, package: Path, answer: Refusal, message: str
) -> None:
    api.state.refusals["GET", "/apis/v2beta1/healthz"] = answer
    with pytest.raises(RunError, match=message):
        submit(Submission(package=package), asking(api))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refusal(500, 13, REFUSED), f"{REFUSED} (status 500)"),
        (Refusal(503, "", "text/plain"), "Service Unavailable (status 503)"),
        (Refusal(500, "[]"), "[] (status 500)"),
        (Refusal(500, '{"message": 5}'), "Internal Server Error (status 500)"),
        (Refusal(504, PROXY, "text/html"), "a web page '502 Bad Gateway', not the API's JSON"),
        (Refusal(401, "Jwt\x1b[31m\n is expired\x07", "text/plain"), "Jwt is expired (status 401)"),
    ],
)
def test_a_refusal_is_told_and_nothing_is_there(
    api: Api, package: Path, answer: Refusal, message: str
) -> None:
    api.state.refusals["POST", "/apis/v2beta1/runs"] = answer
    with pytest.raises(RunError) as raised:
        submit(Submission(package=package), asking(api))
    assert f"{api.url} did not start the run: {message}" in str(raised.value)
    assert api.state.runs == []


def test_a_long_refusal_is_told_with_its_end(api: Api, package: Path) -> None:
    said = "Failed to create a run: " + "wrapped: " * 500 + "InvalidInputError: the reason"
    api.state.refusals["POST", "/apis/v2beta1/runs"] = refusal(500, 13, said)
    with pytest.raises(RunError, match=r"Failed to create.* … .*the reason .status 500") as raised:
        submit(Submission(package=package), asking(api))
    assert len(str(raised.value)) < 800


@pytest.mark.parametrize("body", ["{", "{}", LOGIN])
def test_an_answer_that_is_no_run(api: Api, package: Path, body: str) -> None:
    api.state.refusals["POST", "/apis/v2beta1/runs"] = Refusal(200, body)
    with pytest.raises(RunError, match="did not start the run: it answered without an id"):
        submit(Submission(package=package), asking(api))


def test_nothing_is_printed_and_nothing_warned_of(
    api: Api, package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        submit(Submission(package=package), asking(api))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"epocs": 1}}, "no parameter 'epocs'"),
        ({"parameters": {"epochs": "many"}}, "expected NUMBER_INTEGER"),
        ({"pipeline_root": "/tmp/root"}, "pipeline_root: expected minio://"),
        ({"version": "first"}, "Give --pipeline-name too"),
        ({"pipeline": " "}, "--pipeline-name: expected a name"),
        ({"pipeline": "x", "caching": False}, "Give one of the two"),
        ({"package": Path("pipeline.json")}, "expected a name ending in .yaml or .yml"),
        ({"package": Path("nowhere.yaml")}, "Cannot read nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(
    api: Api, package: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        submit(Submission(**{"package": package, **changes}), asking(api))
    assert api.state.asked == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "30 3 * * *"}, r"--cron: expected six fields \(second, .*, got 5: '30 3 \* "),
        ({"cron": ""}, "got 0"),
        ({"every": 0}, "--every: expected 1 second or more, got 0"),
        ({"cron": "0 0 3 * * *", "every": 60}, "either --cron or --every"),
        ({}, "either --cron or --every"),
    ],
)
def test_a_schedule_that_is_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule(**given)


def visionline(*arguments: str, **env: str) -> tuple[int, str, str]:
    done = python("-m", "pipeline.cli.main", "kubeflow", "submit", str(GOLDEN), *arguments, **env)
    return done.returncode, done.stdout, done.stderr


def test_the_command_says_how_to_reach_the_ui(api: Api) -> None:
    """The API's own port has none."""
    code, told, errors = visionline("--endpoint", api.url)
    assert (code, errors) == (0, "")
    assert told == (
        "Started run r1 of digits.\n"
        "  In the UI:  kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80\n"
        "              http://localhost:8080/#/runs/details/r1\n"
    )


def test_the_command_links_to_the_ui_that_is_there(api: Api) -> None:
    api.state.ui = True
    _, told, _ = visionline("--endpoint", api.url)
    assert told.endswith(f"  {api.url}/#/runs/details/r1\n")
    _, told, _ = visionline("--endpoint", api.url, "--ui", "https://example.test/pipeline/")
    assert told.endswith("  https://example.test/pipeline/#/runs/details/r2\n")
    arguments = ("--every", "60", "--pipeline-name", "digits", "--version-name", "one")
    _, told, _ = visionline(*arguments, KFP_ENDPOINT=api.url)
    assert told == (
        "Set up recurring run c1 of digits.\n  Version:  one of digits\n"
        f"  {api.url}/#/recurringrun/details/c1\n"
    )


def test_the_command_is_silent_but_for_the_refusal(api: Api) -> None:
    api.state.refusals["POST", "/apis/v2beta1/runs"] = refusal(500, 13, REFUSED)
    code, told, errors = visionline("--endpoint", api.url, "--param", "epochs=3")
    assert (code, told) == (1, "")
    assert errors == f"visionline: {api.url} did not start the run: {REFUSED} (status 500)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Which cluster? --endpoint URL, or the variable KFP_ENDPOINT."),
        (("--endpoint", "localhost:8888"), "expected http://… or https://…"),
        (("--endpoint", "http://"), "expected http://… or https://…"),
        (("--endpoint", "http://x", "--param", "epochs"), "--param: expected KEY=VALUE"),
        (("--endpoint", "http://x", "--every", "9", "--wait"), "--wait is for a run"),
    ],
)
def test_what_the_command_cannot_take(arguments: tuple[str, ...], message: str) -> None:
    code, told, errors = visionline(*arguments)
    assert (code, told) == (2, "") and message in errors
