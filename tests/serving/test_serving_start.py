"""What a server says at once: about its folder, its ports, its config."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Demo
from helpers import ROOT, environment, python, wait_until
from repository_fakes import Folder

from common.errors import ConfigError
from serving.config import LimitsConfig, ModelConfig, ServeConfig
from serving.models.folder import check_folder
from serving.ports import take_ports

# The folder


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder is called <tmp>/serving/m/1."""
    folder = Folder(tmp_path)
    folder.push("m")
    folder.repository.close()
    shutil.rmtree(tmp_path / "source")
    return folder.serving


def test_a_folder_with_models_has_nothing_to_say(served: Path, demo: Demo) -> None:
    assert check_folder(served) == check_folder(demo.serving) == ""


@pytest.mark.parametrize(
    ("below", "told", "meant"),
    [
        ("m", "is the folder of one model, with the versions 1", "."),
        ("m/1", "is one version of a model", "."),
        ("..", "holds no model itself", "."),
        ("../..", "holds no model itself", "."),
    ],
)
def test_a_folder_above_or_below_is_refused_and_the_right_one_named(
    served: Path, below: str, told: str, meant: str
) -> None:
    place = served / below
    if below == "../..":  # visionline-runs/<name>/serving
        (served.parent / "runs" / "a").mkdir(parents=True)
        served = served.rename(served.parent / "runs" / "a" / "serving")
        place = served.parent.parent
    with pytest.raises(ConfigError) as refused:
        check_folder(place)
    assert told in str(refused.value)
    assert str(refused.value).endswith(f": {(served / meant).resolve()}")


def test_a_model_named_by_a_number_is_a_model(served: Path) -> None:
    (served / "m").rename(served / "7")
    assert check_folder(served) == ""
    with pytest.raises(ConfigError, match="folder of one model"):
        check_folder(served / "7")


def test_a_demos_folder_is_not_taken_for_a_serving_folder(demo: Demo) -> None:
    """Its images are in folders called 0 to 9."""
    with pytest.raises(ConfigError, match=f"Give that: {re.escape(str(demo.serving.resolve()))}"):
        check_folder(demo.root)


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        ((), "it is empty"),
        (("lost+found",), "lost+found"),
        (("cat", "dog"), "cat, dog"),
        (("m/9223372036854775808",), ": m. "),
        (("0", "1", "2", "3", "4", "5", "6"), "0, 1, 2, 3, 4, …"),
    ],
)
def test_a_folder_without_models_waits_for_the_first(
    tmp_path: Path, inside: tuple[str, ...], told: str
) -> None:
    for name in inside:
        (tmp_path / name).mkdir(parents=True)
    said = check_folder(tmp_path)
    assert said.startswith(f"No model in {tmp_path} yet:") and told in said
    assert f"{tmp_path}/NAME/VERSION/" in said


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="got a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="No serving folder at"):
        check_folder(tmp_path / "none")


def test_a_folder_that_cannot_be_read_is_refused(served: Path) -> None:
    code = (
        "import os, pathlib; from serving.models.folder import check_folder\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"print(check_folder(pathlib.Path({str(served)!r})))"
    )
    served.parent.chmod(0o755)
    for mode in (0, 0o444, 0o311):
        served.chmod(mode)
        done = python("-c", code)
        if str(served) not in done.stderr.split("ConfigError:")[-1]:
            pytest.skip("the folders above cannot be entered by another user")
        assert "cannot be read: Permission denied" in done.stderr
    served.chmod(0o755)


# The ports


@contextmanager
def taken(host: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        s.listen()
        yield s.getsockname()[1]


def config(**changed: Any) -> ServeConfig:
    return ServeConfig(serving="x", **{"port": 0, "grpc_port": 0, **changed})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
def test_a_taken_port_is_told_with_the_flag_for_another(host: str) -> None:
    at = {"localhost": "127.0.0.1"}.get(host, host)
    with taken(at) as port:
        for key, flag, what in (("port", "--port", "HTTP"), ("grpc_port", "--grpc-port", "gRPC")):
            with pytest.raises(ConfigError) as refused:
                take_ports(config(host=host, **{key: port}))
            text = str(refused.value)
            assert f"for {what}: Address already in use. Choose another: {flag}." in text
            assert str(port) in text
    take_ports(config(host=host)).close()


def test_ports_are_held_from_the_first_moment_and_let_go() -> None:
    with taken() as port:
        pass
    first = take_ports(config(grpc_port=port))
    for key in ("grpc_port", "port"):
        with pytest.raises(ConfigError, match="Address already in use"):
            take_ports(config(**{key: port}))
    http = first.http_port
    with pytest.raises(ConfigError, match="Address already in use"):
        take_ports(config(port=http))
    first.close()
    take_ports(config(port=http, grpc_port=port)).close()


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("nowhere.invalid", "--host"),
        ("203.0.113.7", "no such address"),
        ("a..b", "no name of a host"),
        ("x" * 300, "--host"),
        ("2001:db8::1", "--host"),
    ],
)
def test_a_host_that_is_not_ours_is_told(host: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        take_ports(config(host=host))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"port": 65536}, "port: expected 0 to 65535, got 65536"),
        ({"grpc_port": -1}, "grpc_port: expected 0 to 65535"),
        ({"port": 9000, "grpc_port": 9000}, "expected another than port, got 9000 for both"),
        ({"host": ""}, "host: expected an address"),
        ({"host": "[::1]"}, "such as 127.0.0.1 or ::1"),
        ({"poll_seconds": 0.0}, "poll_seconds"),
        ({"poll_seconds": float("nan")}, "poll_seconds"),
        ({"drain_seconds": -1.0}, "drain_seconds"),
        ({"drain_seconds": float("inf")}, "drain_seconds"),
        ({"threads": -1}, "threads"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        config(**changed)


def test_limits_and_policies_that_cannot_be_meant_are_refused() -> None:
    for key in ("pixels", "images", "timeout_seconds", "header_seconds", "concurrency"):
        for value in (0, -1, float("nan")):
            with pytest.raises(ConfigError, match=f"{key}: expected"):
                LimitsConfig(**{key: value})  # type: ignore[arg-type]
    for policy in ((), (0,), (1, -3)):
        with pytest.raises(ConfigError, match=r"policy(\[.\])?: expected (versions|1 or more)"):
            ModelConfig(policy=policy)


def test_a_taken_port_ends_the_command_before_anything_is_imported(tmp_path: Path) -> None:
    for flag, other in (("--port", "--grpc-port"), ("--grpc-port", "--port")):
        with taken() as port:
            done = python(
                *("-X", "importtime", "-m", "pipeline.cli.main", "serve", str(tmp_path)),
                *(flag, str(port), other, "0"),
            )
        assert done.returncode == 2 and done.stdout == ""
        assert f"Choose another: {flag}." in done.stderr and "Traceback" not in done.stderr
        assert "tensorflow" not in done.stderr and "grpc" not in done.stderr.replace("grpc-", "")


def test_a_failure_after_the_imports_is_no_core_dump(tmp_path: Path) -> None:
    code = (
        "import serving.server as s, serving.cli as c\n"
        "from common.errors import ConfigError\n"
        "async def fails(self, listening): raise ConfigError('as gRPC cannot listen')\n"
        "s.Server._serve = fails\n"
        f"c.serve({str(tmp_path)!r}, port=0, grpc_port=0)"
    )
    done = python("-c", code)
    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("visionline: as gRPC cannot listen\n")


# What is told while it runs


def test_the_terminal_and_readyz_say_what_became_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "007").mkdir()
    command = [sys.executable, "-m", "serving", str(folder), "--port", "0", "--grpc-port", "0"]
    out = tmp_path / "out"
    with out.open("w") as stdout, (tmp_path / "err").open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--set", "poll_seconds=0.1"],
            cwd=ROOT, env=environment(), stdout=stdout, stderr=stderr, text=True,
        )  # fmt: skip
    try:
        wait_until(lambda: "m 1: failed" in out.read_text() or process.poll() is not None, 400)
        found = re.search(r"http://127\.0\.0\.1:\d+", out.read_text())
        assert found is not None, (tmp_path / "err").read_text()
        url = f"{found[0]}/readyz"

        def says(word: str, *texts: str) -> bool:
            answer = httpx.get(url, timeout=30)
            assert answer.status_code == 503
            lines = answer.text.splitlines()
            return lines[0] == word and all(t in answer.text for t in texts)

        wait_until(lambda: says("failed", "m 1: failed: ", "m: 007: no version"), 60)
        shutil.rmtree(folder / "m")
        wait_until(lambda: says("waiting", f"Nothing to serve in {folder} yet"), 60)
        folder.rmdir()
        wait_until(lambda: says("failed", "The serving folder cannot be read"), 60)
        folder.mkdir()
        wait_until(lambda: says("waiting"), 60)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "err").read_text()
