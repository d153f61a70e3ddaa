"""Server processes, one awake at a time, and the client that loads them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.prepare import PEERS, ROOT, Model, environment
from benchmarks.serving.report import Figures, percentile

_START_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is equal for all."""

    threads: int
    """Of the engine."""
    max_batch: int
    max_delay_ms: float
    engine: str
    cpus: str
    """For taskset, of servers and bare calls."""
    client_cpus: str


@dataclass(slots=True)
class Contestant:
    """A process, or several, in a session of its own; stopped unless it has its turn."""

    name: str
    process: subprocess.Popen[str]
    addresses: dict[str, str] = field(default_factory=dict)
    """By protocol: host:port."""

    @contextmanager
    def awake(self) -> Iterator[None]:
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)
        os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def visionline(serving: Path, setting: Setting, work: Path, config: str = "") -> Contestant:
    """`visionline serve`, without a line of log per request: its peers write none either."""
    http, rpc = free_port(), free_port()
    toml = work / "serve.toml"
    toml.write_text(config + "[log]\naccess = false\n")
    command = [sys.executable, "-m", "serving", str(serving), "--config", str(toml)]
    command += ["--port", str(http), "--grpc-port", str(rpc), "--engine", setting.engine]
    command += ["--threads", str(setting.threads), "--max-batch", str(setting.max_batch)]
    command += ["--max-delay-ms", f"{setting.max_delay_ms:g}"]
    process = start(command, setting, work / "visionline.log")
    found = Contestant("visionline", process)
    found.addresses = dict.fromkeys(("v1", "v2", "file", "bad"), f"127.0.0.1:{http}")
    found.addresses["v2-grpc"] = f"127.0.0.1:{rpc}"
    wait(process, f"http://127.0.0.1:{http}/readyz")
    return found


def litserve(python: Path, serving: Path, model: Model, setting: Setting, work: Path) -> Contestant:
    port = free_port()
    onnx = serving / model.name / "1" / "model.onnx"
    command = [str(python), str(PEERS / "litserve_server.py"), str(port), str(onnx)]
    command += [str(model.side), str(setting.max_batch), f"{setting.max_delay_ms:g}"]
    process = start([*command, str(setting.threads)], setting, work / "litserve.log")
    wait(process, f"http://127.0.0.1:{port}/health")
    return Contestant("LitServe", process, {"litserve": f"127.0.0.1:{port}"})


def mlserver(
    python: Path, serving: Path, models: Sequence[Model], setting: Setting, work: Path
) -> Contestant:
    http, rpc, metrics = free_port(), free_port(), free_port()
    folder = work / "mlserver"
    settings = {
        "debug": False, "host": "127.0.0.1", "http_port": http, "grpc_port": rpc,
        "metrics_port": metrics, "parallel_workers": 1,
    }  # fmt: skip
    _write(folder / "settings.json", settings)
    for model in models:
        extra = {"onnx": str(serving / model.name / "1" / "model.onnx"), "size": model.side}
        _write(
            folder / model.name / "model-settings.json",
            {
                "name": model.name,
                "implementation": "mlserver_model.Classify",
                "max_batch_size": setting.max_batch,
                "max_batch_time": setting.max_delay_ms / 1000,
                "parameters": {"extra": {**extra, "threads": setting.threads}},
            },
        )
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    process = start(command, setting, work / "mlserver.log", PYTHONPATH=str(PEERS))
    found = Contestant("MLServer", process)
    found.addresses = {"v2": f"127.0.0.1:{http}", "v2-grpc": f"127.0.0.1:{rpc}"}
    wait(process, f"http://127.0.0.1:{http}/v2/health/ready")
    return found


class Bare:
    """The same engine and decoder in a process without a server (see `limits`)."""

    def __init__(
        self, serving: Path, folders: dict[str, Path], setting: Setting, work: Path
    ) -> None:
        command = [sys.executable, "-m", "benchmarks.serving.limits", str(serving)]
        command += [setting.engine, str(setting.threads)]
        command += [f"{name}={folder}" for name, folder in folders.items()]
        process = start(command, setting, work / "limits.log", pipe=True)
        self._contestant = Contestant("bare", process)
        self._answer()

    def images_per_second(self, model: str, batch: int, seconds: float) -> float:
        stdin = self._contestant.process.stdin
        assert stdin is not None
        with self._contestant.awake():
            stdin.write(f"{model} {batch} {seconds}\n")
            stdin.flush()
            return float(self._answer())

    def end(self) -> None:
        self._contestant.end()

    def _answer(self) -> str:
        stdout = self._contestant.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise SystemExit("The bare call ended; limits.log says why.")
        return line


def load(
    address: str, protocol: str, model: Model, images: Path, concurrency: int,
    setting: Setting, *, warm_up: float, seconds: float,
) -> Figures:  # fmt: skip
    """Figures of one load, from the client's process."""
    command = client(address, protocol, model.name, images, concurrency, setting)
    command += ["--warm-up", str(warm_up), "--seconds", str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=warm_up + seconds + 120,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"The client failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    if not found["latencies"]:
        raise SystemExit(f"No answer from {address} by {protocol}: {found['failures']}")
    return Figures(
        rate=found["requests"] / found["seconds"],
        p50=1000 * percentile(found["latencies"], 50),
        p99=1000 * percentile(found["latencies"], 99),
        failed=found["failed"],
        cpu=found["cpu"],
    )


def client(
    address: str, protocol: str, model: str, images: Path, concurrency: int, setting: Setting
) -> list[str]:
    """The command of a client."""
    command = [
        "taskset",
        "-c",
        setting.client_cpus,
        sys.executable,
        "-m",
        "benchmarks.serving.load",
    ]
    command += [address, "--protocol", protocol, "--model", model, "--images", str(images)]
    return [*command, "--concurrency", str(concurrency)]


def start(
    command: list[str], setting: Setting, log: Path, *, pipe: bool = False, **variables: str
) -> subprocess.Popen[str]:
    """A process in its own session, on the servers' CPUs."""
    threads = {"OMP_NUM_THREADS": str(setting.threads)}
    stream = subprocess.PIPE if pipe else None
    with log.open("w") as file:
        return subprocess.Popen(
            ["taskset", "-c", setting.cpus, *command],
            cwd=ROOT, env={**environment(), **threads, **variables}, start_new_session=True,
            stdin=stream, stdout=stream or file, stderr=file, text=True,
        )  # fmt: skip


def wait(process: subprocess.Popen[str], url: str) -> None:
    """Until it says that it is ready."""
    until(lambda: _ok(url) or process.poll() is not None, f"{url} is not ready")
    if process.poll() is not None:
        raise SystemExit(f"{process.args} ended with {process.returncode}; its log says why.")


def until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"{complaint} after {_START_SECONDS} seconds.")
        time.sleep(0.1)


def _ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
