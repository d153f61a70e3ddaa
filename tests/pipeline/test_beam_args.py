"""Options for Beam: checked, handed to every component, and run with workers of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from helpers import ROOT, environment, python, wait_until
from kubeflow_config import config as kubeflow_config
from PIL import Image

from common.errors import ConfigError
from pipeline.beam_args import BEAM_PLUGIN, NO_PRISM, STAND_IN, check, complete, workers_elsewhere

COMPONENTS = {"ImageExampleGen", "StatisticsGen", "Evaluator"}
"""Those that run Beam pipelines."""
PAGE = (ROOT / "docs" / "beam.md").read_text()
RECIPES = [
    tuple(tomllib.loads(block)["run"]["beam_args"])
    for block in re.findall(r"^```\n(\[run\]\n.*?)^```", PAGE, re.M | re.S)
]
MULTI = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
PORTABLE = ("--runner=PortableRunner", "--job_endpoint=localhost:8099")


@pytest.mark.parametrize("args", RECIPES, ids=lambda args: " ".join(args)[:70])
def test_beam_takes_the_recipes(args):
    check(args)


def test_there_is_a_recipe_for_each_engine():
    runners = {a.partition("=")[2] for args in RECIPES for a in args if a.startswith("--runner")}
    assert runners == {"PortableRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"}
    assert MULTI in RECIPES


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--runner", "direct"),
        ("--runner=FlinkRunner",),
        ("--runner=SparkRunner", "--spark_master_url=local"),
        (*PORTABLE, "--environment_type=LOOPBACK"),
        (*PORTABLE, "--environment_config=image:1", "--checkpointing_interval=5"),
        ("--runner=flink", "--flink_master=host:1", "--environment_config=image:1"),
    ],
    ids=" ".join,
)
def test_good_options(args):
    check(args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--direct_num_worker=2"], "no option '--direct_num_worker'. Did you mean"),
        (["--nonsense=2"], "Beam has no option '--nonsense'."),
        (["--direct_num_workers"], "Beam says: argument --direct_num_workers: expected one"),
        (["--direct_num_workers=two"], "invalid int value: 'two'"),
        (["--direct_num_workers=-1"], "--direct_num_workers: expected 0 or more, got -1."),
        (["--direct_running_mode=many"], "invalid choice: 'many'"),
        (["--direct_num_workers 2"], "expected --direct_num_workers=2, got"),
        (["direct_num_workers=2"], "expected options such as --direct_num_workers=2, got"),
        (["--runner=FlnkRunner"], "no runner 'FlnkRunner'. Did you mean 'FlinkRunner'?"),
        (["--runner=my.own.Runner"], "the runner 'my.own.Runner' cannot be made: No module"),
        (["--runner=PortableRunner"], "where is the job server? --job_endpoint=HOST:PORT"),
        ([*PORTABLE], "which image do the workers run? --environment_config=IMAGE"),
        ([*PORTABLE, "--environment_typ=LOOPBACK"], "no option '--environment_typ'. Did you mean"),
        ([*PORTABLE, "--environment_type=POD"], "expected DOCKER, EXTERNAL, LOOPBACK"),
        ([*PORTABLE, "--environment_type=EXTERNAL"], "external_service_address is required"),
        (
            [*PORTABLE, "--environment_type=PROCESS", "--environment_config=run.sh"],
            "--environment_config: expected JSON such as",
        ),
        (
            ["--runner=FlinkRunner", "--flink_master=flink:8081", "--sdk_container_image=image:1"],
            "which image do the workers run? --environment_config=IMAGE",
        ),
        (
            ["--runner=DataflowRunner", "--temp_location=gs://bkt/t"],
            "Missing required option: proj",
        ),
        (["--runner=DataflowRunner", "--project=p-1"], "Missing GCS path option: temp_location"),
        (["--runner=DataflowRunner", "--temp_location=/tmp"], "Invalid GCS path (/tmp), given for"),
        (
            [
                "--runner=DataflowRunner",
                "--project=p-1",
                "--region=r",
                "--temp_location=gs://bkt/t",
            ],
            "which image do the workers run? --sdk_container_image=IMAGE",
        ),
    ],
)
def test_bad_options_are_refused(args, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(args)


def test_they_are_refused_before_a_run(cli: Cli, tmp_path):
    done = cli(
        *("run", "--data", tmp_path, "--framework", "pytorch", "--model", "small_cnn"),
        *("--min-accuracy", "0.5", "--output", tmp_path / "out", "--beam-arg=--runer=DirectRunner"),
    )
    assert done.returncode == ConfigError.exit_code
    message = "visionline: run.beam_args: Beam has no option '--runer'. Did you mean '--runner'?"
    assert done.stderr.strip() == message
    assert not (tmp_path / "out").exists()


def test_without_options_nothing_of_beam_is_loaded():
    code = "import sys; from pipeline.beam_args import *; complete(['--runner=x']); check([])"
    done = python("-c", f"{code}; print('apache_beam' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ((), {BEAM_PLUGIN, NO_PRISM, STAND_IN}),
        (MULTI, {BEAM_PLUGIN, NO_PRISM, STAND_IN}),
        (("--runner=DirectRunner", *MULTI), {BEAM_PLUGIN, NO_PRISM, STAND_IN}),
        (("--runner", "direct", *MULTI), {BEAM_PLUGIN, NO_PRISM, STAND_IN}),
        ((*PORTABLE, "--environment_type=LOOPBACK"), {BEAM_PLUGIN, STAND_IN}),
        ((*PORTABLE, "--setup_file=setup.py"), {BEAM_PLUGIN}),
        (("--runner=DataflowRunner", "--sdk_container_image=i:1"), {BEAM_PLUGIN}),
        (("--runner=DataflowRunner", "--extra_package=p.whl"), {BEAM_PLUGIN}),
    ],
)
def test_what_is_added(given, added):
    done = complete(given)
    assert set(done) == {*given, *added} and len(done) == len(given) + len(added)
    assert [a for a in done if a in given] == list(given)


@pytest.mark.parametrize(
    ("given", "elsewhere"),
    [
        ((), False),
        (MULTI, False),
        ((*PORTABLE, "--environment_type=LOOPBACK"), False),
        (("--runner=FlinkRunner",), False),
        (("--runner=FlinkRunner", "--flink_master=flink:8081"), True),
        ((*PORTABLE, "--environment_type=EXTERNAL"), True),
        (("--runner=DataflowRunner",), True),
    ],
)
def test_where_workers_are(given, elsewhere):
    assert workers_elsewhere(given) is elsewhere


def handed_over(executor: Any, monkeypatch: pytest.MonkeyPatch) -> list[str] | None:
    """The options that TFX's operator gives a component's executor; None for no Beam."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.orchestration.portable import beam_executor_operator, data_types
    from tfx.proto.orchestration import executable_spec_pb2

    spec = executable_spec_pb2.BeamExecutableSpec()
    if not executor.Unpack(spec):
        return None
    seen: list[BaseBeamExecutor] = []
    monkeypatch.setattr(
        beam_executor_operator.python_executor_operator,
        "run_with_executor",
        lambda info, executor: seen.append(executor),
    )
    info = data_types.ExecutionInfo(
        exec_properties={}, input_dict={}, output_dict={}, execution_output_uri=""
    )
    beam_executor_operator.BeamExecutorOperator(spec).run_executor(info)
    options = seen[0]._make_beam_pipeline().options
    given: list[str] = options._flags
    return given


def test_every_beam_component_gets_them_on_tfx_runners(monkeypatch, tmp_path):
    """Both take the IR, and the operator that is asked here."""
    from tfx.dsl.compiler import compiler

    from lineage.store.workspace import Workspace
    from pipeline.dag import create_pipeline

    config = kubeflow_config(run={"beam_args": list(MULTI)})
    ir = compiler.Compiler().compile(create_pipeline(config, Workspace(tmp_path)))
    specs = dict(_executors(ir))
    got = {id_: handed_over(executor, monkeypatch) for id_, executor in specs.items()}
    _assert_all_got(got)


def test_every_beam_component_gets_them_on_kubeflow(monkeypatch):
    from google.protobuf import any_pb2, json_format

    from common.config.strict import parse
    from pipeline.kubeflow.compiler.compile import compile_pipeline
    from pipeline.kubeflow.step import Step
    from pipeline.kubeflow.words import unpacked

    spec, _ = compile_pipeline(kubeflow_config(run={"beam_args": list(MULTI)}))
    got = {}
    for executor in spec["deploymentSpec"]["executors"].values():
        args = executor["container"]["args"]
        if "--step" in args:
            step = parse(Step, json.loads(unpacked(args[args.index("--step") + 1])))
            packed = json_format.ParseDict(step.executor, any_pb2.Any())
            got[step.id] = handed_over(packed, monkeypatch)
    _assert_all_got(got)


def _executors(ir: Any) -> Iterator[tuple[str, Any]]:
    from tfx.proto.orchestration import pipeline_pb2

    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    assert ir.deployment_config.Unpack(deployment)
    yield from deployment.executor_specs.items()


def _assert_all_got(got: dict[str, list[str] | None]) -> None:
    assert {id_ for id_, args in got.items() if args is not None} == COMPONENTS
    for id_ in COMPONENTS:
        args = got[id_]
        assert args is not None
        assert args[: len(MULTI) + 3] == [BEAM_PLUGIN, *MULTI, NO_PRISM, STAND_IN], id_
        assert all("extra_package" not in a for a in args), id_


def test_workers_that_cannot_see_a_tasks_files_are_refused():
    from pipeline.kubeflow.compiler.compile import compile_pipeline

    args = ["--runner=FlinkRunner", "--flink_master=flink:8081", "--environment_config=image:1"]
    with pytest.raises(ConfigError, match="a task sees its inputs and outputs in its own"):
        compile_pipeline(kubeflow_config(run={"beam_args": args}))


def test_the_direct_runner_looks_for_no_other_engine(caplog):
    import apache_beam as beam

    caplog.set_level("INFO")
    with beam.Pipeline(argv=complete(())) as p:
        _ = p | beam.Create([1])
    assert "apache_beam" in caplog.text and "rism" not in caplog.text


def test_what_a_worker_is_told():
    from apache_beam.portability.api import beam_provision_api_pb2, beam_runner_api_pb2

    from components.beam_worker import environment as variables
    from components.beam_worker import to_install

    info = beam_provision_api_pb2.ProvisionInfo(runner_capabilities=["a", "b"])
    info.pipeline_options.update({"beam:option:beam_plugins:v1": ["tfx"]})
    info.control_endpoint.url = "there:1"
    info.status_endpoint.url = "there:2"
    for name in ("submission_environment_dependencies.txt", "own.whl"):
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload(staged_name=name)
        info.dependencies.add(role_payload=role.SerializeToString())
    given = {"id": "1-1", "semi_persist_dir": "/tmp"}
    given |= {"control_endpoint": "here:1", "logging_endpoint": None}
    told = variables(info, given)
    assert json.loads(told.pop("PIPELINE_OPTIONS")) == {"beam:option:beam_plugins:v1": ["tfx"]}
    assert told == {
        "WORKER_ID": "1-1",
        "SEMI_PERSISTENT_DIRECTORY": "/tmp",
        "RUNNER_CAPABILITIES": "a b",
        "CONTROL_API_SERVICE_DESCRIPTOR": 'url: "here:1"\n',
        "STATUS_API_SERVICE_DESCRIPTOR": 'url: "there:2"\n',
    }
    assert to_install(info) == ["own.whl"]


@pytest.fixture
def worker(tmp_path) -> Path:
    """`visionline-beam-worker` as setup installs it, of these sources."""
    path = tmp_path / "visionline-beam-worker"
    path.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{ROOT}'\n"
        f"exec '{sys.executable}' -P -m components.beam_worker \"$@\"\n"
    )
    path.chmod(0o755)
    return path


def pictures(folder: Path, each: int) -> Path:
    for label, shade in (("dark", 40), ("light", 200)):
        (folder / label).mkdir(parents=True)
        for n in range(each):
            Image.new("RGB", (16, 16), (shade, n, shade)).save(folder / label / f"{n}.png")
    return folder


def test_ingestion_in_a_worker_of_its_own(worker, tmp_path):
    """Our functions cross to another process and back, by the protocols of a cluster."""
    import apache_beam as beam
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

    from components.example_gen import ingest
    from components.example_gen.config import DataConfig
    from components.example_gen.records import batches
    from components.example_gen.source import list_source
    from components.example_gen.splits import plan_by_hash
    from components.example_gen.spool import Spool

    def told(bundle: str) -> str:
        import os
        import sys

        return json.dumps([bundle, os.getpid(), "tfx_bsl.arrow.sql_util" in sys.modules])

    config = DataConfig(path=str(pictures(tmp_path / "images", 20)))
    source = list_source(config, config.path)
    spool = Spool(path=tmp_path / "spool", plan=plan_by_hash([], config.splits))
    spool.path.mkdir()
    packed = [ingest.pack(b) for b in batches(source.records, 15)]
    address, pool = BeamFnExternalWorkerPoolServicer.start(
        use_process=True, container_executable=str(worker)
    )
    args = ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"]
    try:
        with beam.Pipeline(argv=complete([*args, f"--environment_config={address}"])) as p:
            _ = (
                p
                | beam.Create(packed)
                | beam.Reshuffle()
                | beam.ParDo(ingest.Ingest(source.base, config.max_pixels, spool))
                | beam.Map(told)
                | beam.io.WriteToText(str(tmp_path / "told"))
            )
    finally:
        pool.stop(1)
    lines = [json.loads(s) for f in tmp_path.glob("told-*") for s in f.read_text().splitlines()]
    assert sum(len(n.images) for name, _, _ in lines for n in spool.notes(name)) == 40
    ((pid, mended),) = {(pid, mended) for _, pid, mended in lines}
    assert pid != os.getpid() and mended


@dataclass(frozen=True)
class Service:
    """Beam's job server and worker pool, as docs/beam.md starts them."""

    args: tuple[str, ...]
    log: Path


@pytest.fixture
def service(worker, tmp_path) -> Iterator[Service]:
    with contextlib.ExitStack() as stack:
        log = tmp_path / "service.log"
        out = stack.enter_context(log.open("wb"))
        ports = [_free_port() for _ in range(2)]
        portability, workers = "apache_beam.runners.portability", "apache_beam.runners.worker"
        for module, *options in (
            (f"{portability}.local_job_service_main", f"--port={ports[0]}"),
            (
                f"{workers}.worker_pool_main",
                *(f"--service_port={ports[1]}", f"--container_executable={worker}"),
            ),
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", module, *options],
                stdout=out,
                stderr=out,
                env=environment(),
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        wait_until(lambda: all(map(_answers, ports)), 180)
        args = (
            *("--runner=PortableRunner", f"--job_endpoint=localhost:{ports[0]}"),
            *("--environment_type=EXTERNAL", f"--environment_config=localhost:{ports[1]}"),
        )
        yield Service(args, log)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port: int = s.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_run_with_workers_of_their_own(service, cli: Cli, tmp_path):
    whole_run(cli, tmp_path, "pytorch", service.args)
    told = service.log.read_text()
    # So few examples are described without Beam.
    done = len(re.findall("Completed job in .* with state DONE", told))
    assert done >= len(COMPONENTS - {"StatisticsGen"})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_run_with_several_processes(cli: Cli, tmp_path):
    whole_run(cli, tmp_path, "keras", MULTI)


def whole_run(cli: Cli, folder: Path, framework: str, beam_args: tuple[str, ...]) -> None:
    images, out = pictures(folder / "images", 60), folder / "out"
    done = cli(
        *("run", "--data", images, "--framework", framework, "--model", "small_cnn"),
        *("--image-size", "16", "--epochs", "1", "--min-accuracy", "0.01", "--output", out),
        *(f"--beam-arg={a}" for a in beam_args),
    )
    logs = "".join(p.read_text()[-3000:] for p in out.glob("runs/*/log.txt"))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
    assert list((out / "serving").glob("*/*/manifest.json"))
