"""The runner of compiled specs, on specs that Kubeflow's own SDK compiled."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from common.errors import ConfigError
from pipeline.kubeflow.local.engines import make_engine
from pipeline.kubeflow.local.runner import Finished, LocalRun
from pipeline.kubeflow.spec import arguments, read_package
from pipeline.kubeflow.words import LONGEST

pytestmark = pytest.mark.quick


@dsl.container_component
def write(text: str, log: str, out: dsl.Output[dsl.Artifact], length: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image="none",
        command=["sh", "-c"],
        args=[
            'echo "$0" > "$1"; echo "write $0" >> "$2"; printf "%s" "${#0}" > "$3"',
            *(text, out.path, log, length),
        ],
    )


@dsl.container_component
def read(source: dsl.Input[dsl.Artifact], length: int, log: str):
    return dsl.ContainerSpec(
        image="none",
        command=["sh", "-c"],
        args=['echo "read $(cat "$0") $1" >> "$2"', source.path, length, log],
    )


@dsl.container_component
def flaky(count: str, until: int):
    """Fails until it was tried `until` times."""
    return dsl.ContainerSpec(
        image="none",
        command=["sh", "-c"],
        args=[
            'echo x >> "$0"; echo "visionline: not yet" >&2; [ $(wc -l < "$0") -ge "$1" ]',
            *(count, until),
        ],
    )


@dsl.container_component
def lost(count: str, until: int):
    """Is killed until it was tried `until` times, as on a node that goes away."""
    code = (
        "import os, sys; tries = open(sys.argv[1], 'a+'); tries.write('x'); tries.seek(0); "
        "len(tries.read()) < int(sys.argv[2]) and (tries.flush(), os.kill(os.getpid(), 9))"
    )
    return dsl.ContainerSpec(image="none", command=["python", "-c"], args=[code, count, until])


@dsl.container_component
def forgetful(out: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(image="none", command=["true"])


@dsl.container_component
def mute(value: dsl.OutputPath(int)):
    return dsl.ContainerSpec(image="none", command=["true"])


@dsl.container_component
def wrong(value: dsl.OutputPath(int)):
    return dsl.ContainerSpec(image="none", command=["sh", "-c"], args=['echo three > "$0"', value])


@dsl.container_component
def say(text: str, log: str):
    return dsl.ContainerSpec(
        image="none", command=["sh", "-c"], args=['echo "$0" >> "$1"', text, log]
    )


@pytest.fixture
def run(tmp_path) -> Callable[..., Finished]:
    """Compiles a pipeline with the SDK and runs it; a second call is another run of it."""
    count = iter(range(100))

    def run_once(pipeline: Any, caching: bool = True, **given: Any) -> Finished:
        path = tmp_path / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        package = read_package(path)
        folder = tmp_path / "work"
        engine = make_engine("subprocess", folder, package.volumes, ())
        values = arguments(package.spec, {"log": str(tmp_path / "log"), **given})
        run_id = f"run-{next(count)}"
        return LocalRun(package, values, run_id, folder, engine, caching=caching).run()

    return run_once


def lines(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text().splitlines() if path.exists() else []


def states(finished: Finished) -> dict[str, str]:
    return {t.task: t.state for t in finished.tasks}


@dsl.pipeline(name="two")
def two(log: str, text: str = "hello"):
    first = write(text=text, log=log)
    read(source=first.outputs["out"], length=first.outputs["length"], log=log)


def test_artifacts_and_parameters_reach_the_next_task(run, tmp_path):
    finished = run(two)
    assert finished.succeeded
    assert lines(tmp_path) == ["write hello", "read hello 5"]
    assert finished.outputs["write"].parameters == {"length": 5}


def test_what_was_done_is_taken_from_the_cache_and_what_changed_is_not(run, tmp_path):
    run(two)
    again = run(two)
    assert states(again) == {"write": "CACHED", "read": "CACHED"}
    assert again.outputs["write"].parameters == {"length": 5}
    other = run(two, text="goodbye")
    assert states(other) == {"write": "SUCCEEDED", "read": "SUCCEEDED"}
    assert lines(tmp_path) == ["write hello", "read hello 5", "write goodbye", "read goodbye 7"]


def test_cached_outputs_that_are_gone_are_made_again(run, tmp_path):
    first = run(two)
    uri = first.outputs["write"].artifacts["out"]["uri"]
    LocalRun.path_in(tmp_path / "work", uri).unlink()
    assert states(run(two))["write"] == "SUCCEEDED"


def test_without_caching_everything_runs(run):
    run(two)
    assert set(states(run(two, caching=False)).values()) == {"SUCCEEDED"}


def test_a_task_that_is_never_cached(run, tmp_path):
    @dsl.pipeline(name="never")
    def never(log: str):
        say(text="again", log=log).set_caching_options(False)

    run(never)
    run(never)
    assert lines(tmp_path) == ["again", "again"]


def test_a_failed_task_fails_the_run_and_nothing_after_it_begins(run, tmp_path):
    @dsl.pipeline(name="fails")
    def fails(log: str):
        first = flaky(count=str(tmp_path / "tries"), until=9)
        say(text="after", log=log).after(first)

    finished = run(fails)
    assert not finished.succeeded
    assert states(finished) == {"flaky": "FAILED", "say": "SKIPPED"}
    assert finished.tasks[0].reason == "exit code 1: not yet"
    assert lines(tmp_path) == []


@pytest.mark.parametrize(("retries", "state"), [(1, "FAILED"), (2, "SUCCEEDED")])
def test_a_task_whose_pod_is_lost_is_tried_again_as_often_as_it_says(run, tmp_path, retries, state):
    @dsl.pipeline(name="retries")
    def retried(log: str):
        lost(count=str(tmp_path / "tries"), until=3).set_retry(retries)

    assert states(run(retried)) == {"lost": state}
    assert (tmp_path / "tries").read_text() == "x" * (retries + 1)


def test_a_task_that_fails_is_not_tried_again(run, tmp_path):
    """Kubeflow's own Argo has retryPolicy OnError: a lost pod, and no exit code."""

    @dsl.pipeline(name="retries")
    def retried(log: str):
        flaky(count=str(tmp_path / "tries"), until=2).set_retry(3)

    assert states(run(retried)) == {"flaky": "FAILED"}
    assert (tmp_path / "tries").read_text() == "x\n"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (forgetful, "it ended well, but did not write its output 'out'"),
        (mute, "it ended well, but did not write its output parameter 'value'"),
        (wrong, "its output parameter 'value' is no NUMBER_INTEGER"),
    ],
    ids=["artifact", "parameter", "type"],
)
def test_success_without_the_outputs_is_a_failure(run, task, reason):
    @dsl.pipeline(name="lacking")
    def lacking(log: str):
        task()

    finished = run(lacking)
    assert not finished.succeeded
    assert finished.tasks[0].reason == reason


def test_a_pipeline_within_a_pipeline_is_refused(run, tmp_path):
    @dsl.pipeline
    def inner(log: str, text: str) -> int:
        return write(text=text, log=log).outputs["length"]

    @dsl.pipeline(name="outer")
    def outer(log: str):
        length = inner(log=log, text="abc")
        say(text=f"it had {length.output}", log=log)

    with pytest.raises(ConfigError, match="the task inner is a pipeline of its own"):
        run(outer)
    assert lines(tmp_path) == []


def test_a_text_may_mention_another_task_s_output(run, tmp_path):
    @dsl.pipeline(name="mentions")
    def mentions(log: str):
        first = write(text="abc", log=log)
        say(text=f"it had {first.outputs['length']}", log=log)

    assert run(mentions).succeeded
    assert lines(tmp_path) == ["write abc", "it had 3"]


def test_a_task_that_ignores_failures_is_refused(run):
    @dsl.pipeline(name="ignores")
    def ignores(log: str):
        first = forgetful()
        say(text="after", log=log).after(first).ignore_upstream_failure()

    with pytest.raises(ConfigError, match="the task say has a strategy, which is not run here"):
        run(ignores)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log": "x", "tekst": "y"}, "no parameter 'tekst'. Did you mean 'text'"),
        ({"log": "x", "text": 3}, "text: expected STRING, got 3"),
        ({}, "'log' has no default"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, given, message):
    path = tmp_path / "two.yaml"
    compiler.Compiler().compile(two, str(path))
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        arguments(read_package(path).spec, given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(schemaVersion="2.0.0"), "expected schema version 2.1"),
        (lambda spec: spec["root"].update(dagg={}), "no PipelineSpec"),
        (lambda spec: spec.pop("root"), "expected a pipeline"),
        (
            lambda spec: spec["root"]["dag"]["tasks"]["read"].update(
                triggerPolicy={"condition": "1 == 1"}
            ),
            "has a condition",
        ),
        (
            lambda spec: spec["deploymentSpec"]["executors"].update(
                {"exec-read": {"importer": {"artifactUri": {"constant": "x"}}}}
            ),
            "only tasks that are containers",
        ),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused_before_anything_runs(tmp_path, change, message):
    path = tmp_path / "two.yaml"
    compiler.Compiler().compile(two, str(path))
    spec = yaml.safe_load(path.read_text())
    change(spec)
    path.write_text(yaml.safe_dump(spec))
    with pytest.raises(ConfigError, match=message):
        read_package(path)


@pytest.mark.parametrize("content", [b"", b"a: [", b"\xff\xfe\x00", b"- 1\n", b"name: x\n"])
def test_no_pipeline_at_all(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_package(path)


def test_an_engine_that_is_not_there_or_lacks_its_volumes(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="expects a volume at /no/such"):
        make_engine("subprocess", tmp_path, {"/no/such": "data"}, ())
    with pytest.raises(ConfigError, match="Which folder stands for the volume data"):
        make_engine("podman", tmp_path, {"/data": "data"}, ())
    with pytest.raises(ConfigError, match="with a claim of data"):
        make_engine("podman", tmp_path, {"/data": "data"}, ("dta=/tmp",))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no command 'podman'"):
        make_engine("podman", tmp_path, {}, ())


@dsl.container_component
def look(source: dsl.Input[dsl.Artifact], text: str, out: dsl.Output[dsl.Artifact]):
    """Makes folders, of which one is empty; says what it was handed and what it sees."""
    return dsl.ContainerSpec(
        image="none",
        command=["sh", "-c"],
        args=[
            'mkdir -p "$1/empty" "$1/full"; printf "%s" "$0" > "$1/full/handed"; '
            'umask > "$1/umask"; find "$2" | sort > "$1/seen"; printf "%s" "$3" > "$1/text"; '
            'touch "$2/added" 2>/dev/null || true',
            *("{{$}}", out.path, source.path, text),
        ],
    )


@dsl.pipeline(name="trainer")
def handed(log: str, text: str = "a"):
    first = write(text=text, log=log)
    second = look(source=first.outputs["out"], text=text).set_display_name("x")
    look(source=second.outputs["out"], text="$$b {{workflow.name}} {{other}}")


def test_a_task_is_handed_what_the_launcher_hands_it(run, tmp_path):
    finished = run(handed, text="c")
    assert finished.succeeded
    root = LocalRun.path_in(tmp_path / "work", finished.outputs["look-2"].artifacts["out"]["uri"])
    told = json.loads((root / "full" / "handed").read_text())
    (source,) = told["inputs"]["artifacts"]["source"]["artifacts"]
    assert re.fullmatch(
        r"minio://mlpipeline/v2/artifacts/trainer/run-0/look/[0-9a-f-]{36}/out", source["uri"]
    )
    assert source["name"].isdecimal()
    assert source["metadata"]["display_name"] == "out"
    assert json.loads(source["metadata"]["store_session_info"])["Provider"] == "minio"
    outputs = told["outputs"]["artifacts"]
    assert {k: v["artifacts"][0]["name"] for k, v in outputs.items()} == {
        "out": "out",
        "executor-logs": "executor-logs",
    }
    assert re.search(
        r"/minio/mlpipeline/v2/artifacts/trainer/run-0/look-2/[0-9a-f-]{36}/executor_output.json$",
        told["outputs"]["outputFile"],
    )


def test_a_store_keeps_files_alone_and_a_task_has_its_own(run, tmp_path):
    finished = run(handed)
    store = tmp_path / "work"
    first, second = (
        LocalRun.path_in(store, finished.outputs[n].artifacts["out"]["uri"])
        for n in ("look", "look-2")
    )
    assert not (first / "empty").exists() and (first / "full").is_dir()
    seen = [line.rpartition("/out")[2] for line in (second / "seen").read_text().splitlines()]
    assert seen == ["", "/full", "/full/handed", "/seen", "/text", "/umask"]
    assert not (first / "added").exists(), "what a consumer writes is its own"
    assert (second / "umask").read_text().strip() == "0000"
    assert not list((store / "tasks").rglob("*.json")), "nothing of the tasks is left"


def test_texts_are_expanded_as_argo_and_kubernetes_do(run, tmp_path):
    finished = run(handed)
    place = finished.outputs["look-2"].artifacts["out"]["uri"]
    text = LocalRun.path_in(tmp_path / "work", place) / "text"
    assert text.read_text() == "$b run-0 {{other}}"


def test_a_word_that_is_too_long_is_no_command(run):
    finished = run(handed, text="x" * LONGEST)
    assert "Argument list too long" in finished.tasks[0].reason


def test_a_root_is_the_run_s_and_not_the_spec_s(tmp_path):
    path = tmp_path / "two.yaml"
    compiler.Compiler().compile(two, str(path))
    package = read_package(path)
    package.spec["defaultPipelineRoot"] = "s3://spec/root"
    engine = make_engine("subprocess", tmp_path, package.volumes, ())
    values = arguments(package.spec, {"log": str(tmp_path / "log")})
    uris = [
        LocalRun(package, values, "r", tmp_path, engine, **given)
        .run()
        .outputs["write"]
        .artifacts["out"]["uri"]
        for given in ({}, {"root": "gs://run/root/", "caching": False})
    ]
    assert [u.rsplit("/", 3)[0] for u in uris] == [
        "minio://mlpipeline/v2/artifacts/two/r",
        "gs://run/root/two/r",
    ]
