"""The containers' entrypoint: what it is handed, where artifacts lie, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import EXAMPLES, environment
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from common.mounts import MOUNTS, local_path, remote_uri
from pipeline.kubeflow.entrypoint import main
from pipeline.kubeflow.step import RELEASE
from pipeline.kubeflow.task.component import run_of

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/v2/a", "/minio/mlpipeline/v2/a"),
        ("s3://bucket/a/b", "/s3/bucket/a/b"),
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("/plain/path", "/plain/path"),
    ],
)
def test_uris_and_paths(uri, path):
    assert local_path(uri) == path
    assert remote_uri(path) == uri


def test_a_file_uri_is_its_path():
    assert local_path("file:///a/b") == "/a/b"


@EXAMPLES
@given(st.sampled_from(list(MOUNTS)), st.from_regex(r"[a-z0-9][a-z0-9./ -]{0,40}", fullmatch=True))
def test_there_and_back(scheme, rest):
    uri = f"{scheme}://{rest}"
    assert remote_uri(local_path(uri)) == uri


@pytest.mark.parametrize("uri", ["ftp://a/b", "oci://a", "hdfs://n/a", "://x"])
def test_unknown_schemes_are_refused(uri):
    with pytest.raises(ConfigError, match="Expected a URI that begins with minio://"):
        local_path(uri)


def test_a_folder_in_place_of_the_root(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONLINE_MOUNTS", str(tmp_path))
    assert local_path("s3://b/k") == f"{tmp_path}/s3/b/k"
    assert remote_uri(f"{tmp_path}/s3/b/k") == "s3://b/k"


@pytest.mark.parametrize("pipeline", ["digits", "trainer", "lineage"])
@pytest.mark.parametrize("root", ["minio://mlpipeline/v2/artifacts", "s3://{0}/{0}/{0}"])
@pytest.mark.parametrize("key", ["model", "lineage", "trainer"])
def test_the_run_is_read_from_where_outputs_go(pipeline: str, root: str, key: str) -> None:
    uri = f"{root.format(pipeline)}/{pipeline}/0f6c-1/trainer/5b1e-2/{key}"
    assert run_of(uri, pipeline) == "0f6c-1"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/elsewhere/model",
        "s3://b/digits/run-1/trainer/model",
        "s3://b/other/run-1/trainer/5b1e-2/model",
        "digits/run-1/trainer/5b1e-2/model",
        "",
    ],
)
def test_an_output_elsewhere_is_of_no_known_run(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"ROOT/digits/RUN/TASK/ID/KEY.* got ") as raised:
        run_of(uri, "digits")
    assert repr(uri) in str(raised.value)


def call(capsys, *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    return code, capsys.readouterr().err


def test_another_release_is_refused(capsys):
    code, told = call(capsys, "--release", "0.0.1", "--find", "data", "--executor_input", "{}")
    assert code == ConfigError.exit_code
    assert "compiled by visionline 0.0.1" in told and f"this image holds {RELEASE}" in told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"inputs": 3}',
        '{"outputs": {"parameters": {"x": {}}}}',
        '{"outputs": {"artifacts": {"x": {"artifacts": []}}}}',
    ],
)
def test_what_is_no_executor_input_is_refused(capsys, text):
    code, told = call(capsys, "--release", RELEASE, "--find", "data", "--executor_input", text)
    assert code == ConfigError.exit_code and "--executor_input: expected" in told


def executor_input(folder: Path, parameters: dict[str, object], output: str) -> str:
    return json.dumps(
        {
            "inputs": {"parameterValues": parameters},
            "outputs": {
                "parameters": {output: {"outputFile": str(folder / "out" / output)}},
                "outputFile": str(folder / "out" / "executor_output.json"),
            },
        }
    )


def test_data_that_is_not_there_is_said(capsys, tmp_path):
    values = {
        "config": json.dumps({"path": "/x"}),
        "data_path": str(tmp_path / "none"),
        "destination": str(tmp_path / "serving"),
    }
    asked = executor_input(tmp_path, values, "resolved_data")
    code, told = call(capsys, "--release", RELEASE, "--find", "data", "--executor_input", asked)
    assert code and str(tmp_path / "none") in told and "Traceback" not in told
    assert not (tmp_path / "out" / "resolved_data").exists()


def test_finding_data_takes_no_tfx(tmp_path):
    values = {"config": "{}", "destination": str(tmp_path)}
    asked = executor_input(tmp_path, values, "resolved_data")
    code = (
        "import sys; from pipeline.kubeflow.entrypoint import main; "
        f"main(['--release', {RELEASE!r}, '--find', 'data', '--executor_input', {asked!r}]); "
        "print([m for m in ('tfx', 'tensorflow', 'apache_beam', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_moving_files_takes_no_tensorflow():
    """What the task of the Pusher imports, but for its executor's own work."""
    code = (
        "import sys; from components import tfx_private; tfx_private.install_tfx_alone(); "
        "import pipeline.kubeflow.task.component, pipeline.kubeflow.task.cached, "
        "pipeline.recording.recorder, "
        "lineage.store.setup, components.pusher, components.example_gen.driver; "
        "from tfx.orchestration.portable import python_executor_operator; "
        "from tfx.components.schema_gen.import_schema_gen import executor; "
        "print([m for m in ('tensorflow', 'apache_beam', 'keras', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_claim_that_cannot_be_written_is_said_before_anything_is_done(capsys, tmp_path):
    values = {
        "config": json.dumps({"path": "/x"}),
        "data_path": str(tmp_path / "none"),
        "destination": "/proc/1/serving",
    }
    asked = executor_input(tmp_path, values, "resolved_data")
    code, told = call(capsys, "--release", RELEASE, "--find", "data", "--executor_input", asked)
    assert code and str(tmp_path) not in told
    assert "push.destination: expected a folder that user" in told and "fsGroup" in told


def test_trying_to_write_leaves_nothing(capsys, tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    values = {
        "config": json.dumps({"path": str(tmp_path / "images")}),
        "data_path": str(tmp_path / "images"),
        "destination": str(tmp_path / "serving"),
    }
    asked = executor_input(tmp_path, values, "resolved_data")
    call(capsys, "--release", RELEASE, "--find", "data", "--executor_input", asked)
    assert list((tmp_path / "serving").iterdir()) == []


def test_a_task_sets_its_own_umask(tmp_path):
    code = (
        "import os; os.umask(0); from pipeline.kubeflow.entrypoint import main; "
        f"main(['--release', {RELEASE!r}, '--find', 'data', '--executor_input', '']); "
        "print(oct(os.umask(0)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "0o22", done.stderr
