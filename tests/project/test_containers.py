"""The serving image, built and run for real; needs docker or podman and takes minutes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.timeout(3600)]
MARK = f"visionline-{uuid.uuid4().hex}.invalid"
"""A value that the build gets as a secret, to be looked for in the image."""


@dataclass(frozen=True)
class Engine:
    program: list[str]
    limits: list[str]

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*self.program, *arguments], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr[-3000:]
        return done


@pytest.fixture(scope="module")
def engine() -> Engine:
    code = """
        . docker/engine.sh
        find_engine && engine_options
        printf '%s\n' "$ENGINE" "${ENGINE_OPTIONS[*]}" "${LIMITS[*]}"
    """
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "ENGINE": "docker podman"},
    )
    if done.returncode:
        pytest.skip("no docker and no podman works here: " + done.stderr.strip())
    name, options, limits = done.stdout.splitlines()
    return Engine([name, *options.split()], limits.split())


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    """The serving image, on the base it names or, where that cannot be pulled, on Debian's."""
    dockerfile = (ROOT / "docker/serving.Dockerfile").read_text()
    base = dockerfile.partition("ARG BASE=")[2].split()[0]
    if not (has(engine, base) or engine("pull", base, check=False).returncode == 0):
        base = "localhost/visionline-base"
        if not has(engine, base):
            subprocess.run(["docker/base.sh"], cwd=ROOT, check=True)
    tag = f"visionline-serving:test-{os.getpid()}"
    began = time.monotonic()
    subprocess.run(
        ["docker/build.sh", "serving", "--base", base, "--tag", tag],
        cwd=ROOT,
        check=True,
        env={**os.environ, "no_proxy": MARK, "ENGINE": engine.program[0]},
    )
    size = int(engine("image", "inspect", "--format", "{{.Size}}", tag).stdout)
    print(f"{size / 1e9:.2f} GB on {base}, {time.monotonic() - began:.0f} s")
    assert size < 1.5e9
    yield tag
    engine("rmi", "--force", tag)


def has(engine: Engine, image: str) -> bool:
    return engine("image", "inspect", image, check=False).returncode == 0


@dataclass(frozen=True)
class Container:
    engine: Engine
    name: str

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.engine("exec", self.name, *command, check=check)

    def python(self, code: str) -> str:
        return self.run("python", "-c", code).stdout

    def inspect(self, what: str) -> Any:
        return json.loads(
            self.engine("inspect", "--format", f"{{{{json {what}}}}}", self.name).stdout
        )


@pytest.fixture(scope="module")
def container(engine: Engine, image: str, demo: Any, tmp_path_factory: Any) -> Iterator[Container]:
    """Without a network, writing nowhere, without a capability."""
    serving = tmp_path_factory.mktemp("image") / "serving"
    shutil.copytree(demo.serving, serving)
    kept = serving.parent / "kept.png"
    shutil.copy(demo.kept[0], kept)
    for path in [*serving.rglob("*"), serving, kept]:
        path.chmod(path.stat().st_mode | (0o55 if path.is_dir() else 0o44))
    name = f"visionline-test-{os.getpid()}"
    engine(
        *("run", "--detach", "--name", name, "--network", "none", *engine.limits),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges"),
        *("--volume", f"{serving}:/mnt/models:ro", "--volume", f"{kept}:/kept.png:ro"),
        image,
    )
    running = Container(engine, name)
    try:
        deadline = time.monotonic() + 300
        health = health_check(running)
        while running.run(*health, check=False).returncode:
            assert running.inspect(".State.Running"), engine("logs", name).stderr
            assert time.monotonic() < deadline, engine("logs", name).stderr
            time.sleep(0.5)
        yield running
    finally:
        engine("rm", "--force", name)


def health_check(container: Container) -> list[str]:
    """The image's own."""
    kind, *command = container.inspect(".Config.Healthcheck.Test")
    assert kind == "CMD"
    return command


@pytest.mark.parametrize("framework", ["keras", "pytorch"])
def test_it_classifies_an_image(container: Container, demo: Any, framework: str) -> None:
    answer = json.loads(
        container.python(
            "import urllib.request as u\n"
            f"url = 'http://127.0.0.1:8501/predict?model=digits-{framework}'\n"
            "print(u.urlopen(u.Request(url, open('/kept.png', 'rb').read())).read().decode())"
        )
    )
    (expected,) = (r for r in demo.summary["runs"] if r["framework"] == framework)
    assert answer["classes"][0]["label"] == demo.kept[0].name[0]
    shown = [p for p in expected["predictions"] if Path(p["image"]).name == demo.kept[0].name]
    assert answer["classes"][0]["score"] == pytest.approx(shown[0]["scores"][0], abs=1e-4)


def test_it_answers_grpc(container: Container) -> None:
    said = container.python(
        "import tritonclient.grpc as t\n"
        "print(t.InferenceServerClient('127.0.0.1:8500').is_model_ready('digits-pytorch'))"
    )
    assert said.strip() == "True"


def test_the_health_check_fails_without_a_server(container: Container) -> None:
    command = health_check(container)
    command[-1] = command[-1].replace(":8501/", ":9/")
    assert container.run(*command, check=False).returncode == 1


def test_it_runs_as_nobody_in_particular(container: Container) -> None:
    assert container.run("id", "-u").stdout.strip() == "65532"
    assert container.run("touch", "/opt/x", check=False).returncode
    assert container.run("touch", "/mnt/models/x", check=False).returncode
    status = container.run("cat", "/proc/1/status").stdout
    assert "CapEff:\t0000000000000000" in status


def test_nothing_of_training_is_in_it(container: Container) -> None:
    unwanted = "torch torchvision timm jax keras tfx apache_beam ml_metadata pandas sklearn onnx"
    unwanted += " pipeline components trainers.torch_backend trainers.keras_backend pip"
    found = container.python(
        "from importlib.util import find_spec\n"
        f"print([n for n in {unwanted.split()} if find_spec(n)])"
    )
    assert found.strip() == "[]"


def test_it_says_which_version_it_is_and_not_how_it_was_built(
    engine: Engine, image: str, container: Container
) -> None:
    labels = container.inspect(".Config.Labels")
    version = labels["org.opencontainers.image.version"]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    assert labels["org.opencontainers.image.revision"].removesuffix("-changed") == revision
    told = engine("history", "--no-trunc", image).stdout + engine("inspect", image).stdout
    assert MARK not in told
    left = container.run("ls", "/src", "/run/secrets/environment", "/root/.cache", check=False)
    assert left.stdout.strip() == ""


def test_it_ends_when_told(engine: Engine, container: Container) -> None:
    """The last test here: the container is gone after it."""
    engine("stop", "--time", "40", container.name)
    assert container.inspect(".State.ExitCode") == 0
    assert "Traceback" not in engine("logs", container.name).stderr
