"""`visionline kubeflow submit --wait`, against a stand-in for the API."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import kubeflow_api
import pytest
from conftest import command
from helpers import ROOT, environment, wait_until
from kubeflow_api import LOGIN, NODE, Api, Refusal, node, refusal, run, task, workflow

from pipeline.kubeflow.cluster import api as client_api
from pipeline.kubeflow.cluster.wait import Failure, Finished, wait

GOLDEN = ROOT / "tests" / "golden" / "kubeflow.yaml"
TASKS = ("resolve-data", "trainer", "pusher")
LOG = "\n".join(
    [
        *(f"I1130 10:00:{i:02} launcher.go:{i}] starting" for i in range(40)),
        "2026-11-30T10:00:41.123Z visionline: Trainer: The loss is not finite.",
        "F1130 10:00:42 main.go:49] \x1b[31mfailed\x1b[0m to execute component: exit status 1",
    ]
)


@pytest.fixture
def api() -> Iterator[Api]:
    with kubeflow_api.serving() as server:
        yield server


def waited(api: Api, between: float = 0.01) -> tuple[Finished, list[str], list[str]]:
    """How it ended, what became of the tasks, and the notes."""
    events: list[dict[str, Any]] = []
    asking = client_api.Api(endpoint=api.url)
    finished = wait(asking, "r1", TASKS, events.append, between)
    nodes = [e for e in events if e["kind"] == "node"]
    lines = [f"{e['node']} {e['state']} {e['seconds']}" for e in nodes]
    return finished, lines, [e["text"] for e in events if e["kind"] == "note"]


def test_a_run_from_its_first_task_to_its_end(api: Api) -> None:
    resolve, trainer = task("resolve-data", "SUCCEEDED", 4), task("trainer", "RUNNING")
    starting = {"display_name": "trainer-driver", "state": "RUNNING"}
    api.state.progress = [
        {"state": "PENDING"},
        run("RUNNING"),
        run("RUNNING", *resolve, starting),
        run("RUNNING", *resolve, *trainer),
        run("RUNNING", *resolve, *trainer),
        run("SUCCEEDED", *resolve, *task("trainer", "SUCCEEDED", 75), *task("pusher", "SUCCEEDED")),
    ]
    finished, lines, notes = waited(api)
    assert finished == Finished(state="SUCCEEDED", error="", failures=(), namespace=None)
    assert lines == [
        "resolve-data done 4.0",
        "trainer pending None",
        "trainer running None",
        "trainer done 75.0",
        "pusher done None",
    ]
    assert notes == []


def test_what_the_cache_had(api: Api) -> None:
    api.state.workflow = workflow(
        node("resolve-data.executor", "1", "Succeeded"),
        node("trainer-driver", "2", "Succeeded"),
        node("trainer.executor", "3", "Skipped", type="Skipped"),
    )
    first, second, third = (task(name, "SUCCEEDED", 1) for name in TASKS)
    ended = run("SUCCEEDED", *first, *second, *third)
    api.state.progress = [run("RUNNING", *first, *second), ended]
    _, lines, _ = waited(api)
    assert lines == ["resolve-data done 1.0", "trainer cached None", "pusher done 1.0"]


def failing(**more: Any) -> dict[str, Any]:
    tasks = [*task("resolve-data", "SUCCEEDED", 4), *task("trainer", "FAILED", 60, child="77")]
    omitted = {"display_name": "pusher", "state": "RUNTIME_STATE_UNSPECIFIED"}
    return run("FAILED", *tasks, omitted, **more)


def test_a_task_that_failed_with_its_reason_and_log(api: Api) -> None:
    """Of the last of its attempts."""
    api.state.progress = [failing(error={"code": 13, "message": "digits failed"})]
    pods = {"type": "Pod", "templateName": "retry-system-container-impl"}
    api.state.workflow = workflow(
        node("trainer.executor", "77", "Failed", type="Retry", templateName=""),
        node("trainer.executor(0)", "78", "Failed", **pods),
        node(
            *("trainer.executor(1)", "79", "Failed"),
            finishedAt="2026-11-30T10:09:00Z",
            message="Error (exit code 1)",
            **pods,
        ),
    )
    pod = f"{NODE}-retry-system-container-impl-79"
    api.state.logs = {pod: LOG}
    finished, lines, _ = waited(api)
    assert lines[1:] == ["trainer failed 60.0", "pusher skipped None"]
    (failure,) = finished.failures
    assert (failure.task, failure.pod) == ("trainer", pod)
    assert failure.reason == "Trainer: The loss is not finite."
    assert len(failure.log) == 20 and failure.log[-1].endswith(
        "failed to execute component: exit status 1"
    )
    assert (finished.error, finished.namespace) == ("digits failed", "kubeflow")


def test_a_pod_that_never_started(api: Api) -> None:
    api.state.progress = [failing()]
    api.state.workflow = workflow(
        node("trainer.executor", "77", "Error", message="ErrImagePull: pull access denied")
    )
    finished, _, _ = waited(api)
    assert finished.failures == (
        Failure(
            task="trainer",
            reason="ErrImagePull: pull access denied",
            log=(),
            pod=f"{NODE}-system-container-impl-77",
        ),
    )


def test_a_driver_that_failed(api: Api) -> None:
    driver = {"display_name": "trainer-driver", "state": "FAILED"}
    api.state.progress = [run("FAILED", *task("resolve-data", "SUCCEEDED", 4), driver)]
    api.state.workflow = workflow(
        node("trainer-driver", "5", "Failed", message="Error (exit code 1)")
    )
    api.state.logs = {f"{NODE}-system-container-driver-5": "F1 driver: no bucket"}
    finished, lines, _ = waited(api)
    assert lines[1:] == ["trainer failed None", "pusher skipped None"]
    assert finished.failures[0].log == ("F1 driver: no bucket",)


def test_where_the_older_api_is_gone_the_pod_is_found_all_the_same(api: Api) -> None:
    api.state.progress = [failing()]
    api.state.logs = {f"{NODE}-system-container-impl-77": LOG}
    finished, _, _ = waited(api)
    (failure,) = finished.failures
    assert failure.pod == f"{NODE}-system-container-impl-77"
    assert failure.reason == "Trainer: The loss is not finite."
    assert [path for _, path in api.state.asked].count("/apis/v1beta1/runs/r1") == 1


def test_a_reason_that_the_api_itself_tells(api: Api) -> None:
    api.state.progress = [failing()]
    for detail in api.state.progress[0]["run_details"]["task_details"]:
        if detail["display_name"] == "trainer":
            detail |= {"error": {"code": 2, "message": "OOMKilled"}, "pod_name": "pod-1"}
    api.state.logs = {"pod-1": "last words"}
    finished, _, _ = waited(api)
    assert finished.failures == (
        Failure(task="trainer", reason="OOMKilled", log=("last words",), pod="pod-1"),
    )


def test_a_run_that_somebody_ended(api: Api) -> None:
    api.state.progress = [
        run("CANCELING", *task("trainer", "RUNNING")),
        run("CANCELED", *task("trainer", "RUNNING")),
    ]
    finished, lines, _ = waited(api)
    assert finished.state == "CANCELED" and finished.failures == ()
    assert lines[1:] == ["resolve-data skipped None", "trainer stopped None", "pusher skipped None"]


def test_an_api_that_is_away_is_told_once_and_asked_again(api: Api) -> None:
    api.state.progress = [run("SUCCEEDED")]
    api.state.away = 3
    finished, _, notes = waited(api)
    assert finished.state == "SUCCEEDED"
    assert len(notes) == 2
    assert re.fullmatch(r"The API is away \(.+\); asking again .* The run goes on\.", notes[0])
    assert notes[1] == "The API answers again."


def test_an_api_that_refuses_to_say_more(api: Api) -> None:
    for answer, why in (
        (refusal(404, 5, "Run r1 not found"), r"Run r1 not found \(status 404\)"),
        (Refusal(401, "Jwt is expired", "text/plain"), r"Jwt is expired \(status 401\)"),
        (Refusal(200, LOGIN, "text/html"), "it answered text/html"),
    ):
        api.state.refusals["GET", "/apis/v2beta1/runs"] = answer
        with pytest.raises(Exception, match=f"not tell about the run any more: {why}.*r1 does not"):
            waited(api)


def visionline(api: Api, term: str = "dumb", **options: Any) -> subprocess.Popen[str]:
    arguments = ("kubeflow", "submit", GOLDEN, "--endpoint", api.url, "--wait")
    env = environment(TERM=term)
    return subprocess.Popen(command(*arguments), cwd=ROOT, env=env, text=True, **options)


def piped(api: Api) -> tuple[int, str, str]:
    with visionline(api, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        told, errors = process.communicate(timeout=120)
    return process.returncode, told, errors


def test_the_command_prints_a_line_for_each_change(api: Api) -> None:
    api.state.progress = [run("SUCCEEDED", *task("trainer", "SUCCEEDED", 75))]
    code, told, errors = piped(api)
    assert (code, errors) == (0, "")
    assert f"digits on {api.url}\n" in told and "trainer: done (1 min 15 s)\n" in told
    assert "The run succeeded.\nWhether the model was blessed" in told


NOT = "2026-11-30T10:00:41.123Z digits is not pushed: "


@pytest.mark.parametrize(
    ("lines", "code", "shown"),
    [
        (["Pushed digits version 3 to /mnt/a/digits/3."], 0, "Pushed digits version 3 to"),
        (["Nothing new to push: digits version 3 is the same model (/a)."], 0, "is the same model"),
        ([f"{NOT}accuracy is 0.5", f"{NOT}loss is 9"], 3, "digits is not pushed: loss is 9\n"),
        ([f"{NOT}version 4 was made to roll back from this model"], 0, "to roll back from this"),
        (["visionline: something else"], 0, "is not known: the API has no log"),
    ],
)
def test_the_command_exits_as_a_run_here_does(api: Api, lines, code, shown) -> None:
    """What became of the model is in pusher's log alone."""
    api.state.progress = [run("SUCCEEDED", *task("pusher", "SUCCEEDED", 7))]
    api.state.workflow = workflow(node("pusher.executor", "9", "Succeeded"))
    api.state.logs = {f"{NODE}-system-container-impl-9": "\n".join(["I1 launcher", *lines])}
    exited, told, errors = piped(api)
    assert (exited, errors) == (code, "")
    assert shown in told


def test_the_command_fails_with_the_run(api: Api) -> None:
    api.state.progress = [failing()]
    api.state.logs = {f"{NODE}-system-container-impl-77": LOG}
    code, told, errors = piped(api)
    assert (code, errors) == (1, "")
    assert "\ntrainer failed: Trainer: The loss is not finite.\n  | " in told
    pod = f"kubectl logs -n kubeflow {NODE}-system-container-impl-77 -c main"
    assert f"\n  The whole log:  {pod}\n" in told and told.endswith("The run failed.\n")


def test_the_command_says_what_to_do_about_a_store(api: Api) -> None:
    lost = [*task("baseline", "FAILED", 6, child="5"), *task("trainer", "FAILED", 9, child="77")]
    api.state.progress = [run("FAILED", *lost)]
    api.state.logs = {f"{NODE}-system-container-impl-77": "F1 upload: Invalid region: region was"}
    _, told, _ = piped(api)
    assert "ConfigMap kfp-launcher: see docs/kubeflow.md" in told
    assert "below the other one: submit with --no-cache." in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ending_the_wait_leaves_the_run_alone(api: Api, number: int, code: int) -> None:
    api.state.progress = [run("RUNNING", *task("trainer", "RUNNING"))]
    with visionline(api, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: ("GET", "/apis/v2beta1/runs/r1") in api.state.asked)
        process.send_signal(number)
        told, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    assert told.endswith("No longer waiting. Run r1 goes on.\n")
    assert {method for method, path in api.state.asked if "/runs/" in path} == {"GET"}


def test_a_terminal_shows_a_table(api: Api) -> None:
    api.state.progress = [
        run("RUNNING", *task("trainer", "RUNNING")),
        run("SUCCEEDED", *task("trainer", "SUCCEEDED", 75)),
    ]
    ours, theirs = pty.openpty()
    process = visionline(api, "xterm", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other side was closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"resolve-data +waiting", text) and re.search(r"trainer +done", text)
    assert "1 min 15 s" in text and "The run succeeded." in text
