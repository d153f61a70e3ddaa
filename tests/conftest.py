"""One finished demo, shared by every test that needs a pipeline's results.

It is the real thing, `visionline demo`, as a newcomer runs it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import costs
import network_watch
import pytest
import skips
from servers import Server, running
from serving_server import model, of_model, rest, samples, server, still_fine  # noqa: F401

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["VISIONLINE_KEEP_MINUTES"] = "0"  # but for the tests of what is kept
# In the background of a script it is ignored, and so it would be by what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def is_quick(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "quick")


def pytest_configure(config: pytest.Config) -> None:
    if is_quick(config):
        costs.keep_quick()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if is_quick(config) and collection_path.suffix == ".py":
        return not costs.is_marked(collection_path, "quick") or None
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_quick(config):
        costs.without_costly(config, items)
    costs.in_order(items)


def pytest_collection_finish() -> None:
    """Sets TensorFlow's threads, which Keras' backend cannot do once another test has used it."""
    tf: Any = sys.modules.get("tensorflow")
    if hasattr(tf, "config"):
        tf.config.threading.set_intra_op_parallelism_threads(2)
        tf.config.threading.set_inter_op_parallelism_threads(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return skips.judge((yield))


def pytest_unconfigure(config: pytest.Config) -> None:
    if (line := skips.last_line(config)) is not None:
        print(line)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return costs.scheduler(config, log)


Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli.main", *map(str, args)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs `visionline ARGS…`; returns exit code and output."""

    def run(*args: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*args), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=900
        )

    return run


def watched(
    arguments: list[str], report: Path, timeout: float = 900
) -> tuple[subprocess.CompletedProcess[str], list[str] | None]:
    """Runs a command in a network of its own, where that is allowed.

    Returns:
      Its result, and what it sent outside loopback, None where nobody could watch.
    """

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout
        )

    done = run([sys.executable, network_watch.__file__, str(report), *arguments])
    if done.returncode == network_watch.NOT_ALLOWED:
        return run(arguments), None
    return done, json.loads(report.read_text())


@dataclass(frozen=True)
class Demo:
    """What `visionline demo` left."""

    root: Path
    output: str
    summary: dict[str, Any]
    sent: list[str] | None
    """What left the machine meanwhile, see `network_watch`; None: nobody watched."""

    @property
    def workspace(self) -> Path:
        return self.root / "pipeline"

    @property
    def serving(self) -> Path:
        return self.root / "serving"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def kept(self) -> list[Path]:
        return sorted((self.root / "kept-aside").glob("*.png"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Made once, also where several processes share the tests. To be read only."""
    if (finished := os.environ.get("VISIONLINE_TEST_DEMO")) is not None:
        root = Path(finished)  # saves minutes while one writes tests
        return Demo(root, "", json.loads((root / "summary.json").read_text()), None)
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    root, made = folder / "demo", folder / "demo.json"
    with (folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            done, sent = watched(command("demo", "--output", root), folder / "sent.json")
            if done.returncode:
                logs = "\n".join(
                    p.read_text()[-3000:] for p in root.glob("pipeline/runs/*/log.txt")
                )
                pytest.fail(
                    f"visionline demo exited with {done.returncode}:\n{done.stdout}\n{logs}"
                )
            made.write_text(json.dumps({"output": done.stdout, "sent": sent}))
    summary = json.loads((root / "summary.json").read_text())
    return Demo(root, summary=summary, **json.loads(made.read_text()))


@pytest.fixture
def heavy() -> None:
    """Says that a test in a quick file imports TFX or a framework, so that it is not quick."""


class Store:
    """What MLMD holds, by run; read without TFX and read-only."""

    def __init__(self, workspace: Path) -> None:
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(workspace / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
        self.store = metadata_store.MetadataStore(config)
        self._mlmd = mlmd
        self._types = {t.id: t.name for t in self.store.get_execution_types()}

    def run(self, run_id: str) -> dict[str, Any]:
        """The properties of a run's context."""
        context = self.store.get_context_by_type_and_name("pipeline_run", run_id)
        return _properties(context)

    def executions(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Each component's execution: its properties, and "state"."""
        context = self.store.get_context_by_type_and_name("pipeline_run", run_id)
        return {
            self._types[e.type_id].rsplit(".", 1)[-1]: {
                **_properties(e),
                "state": self._mlmd.Execution.State.Name(e.last_known_state),
            }
            for e in self.store.get_executions_by_context(context.id)
        }

    def states(self, run_id: str) -> dict[str, str]:
        """State by component, the Resolver left out."""
        found = {k: v["state"] for k, v in self.executions(run_id).items()}
        return {k: v for k, v in found.items() if not k.endswith("Resolver")}


def _properties(node: Any) -> dict[str, Any]:
    return {k: getattr(v, v.WhichOneof("value")) for k, v in node.custom_properties.items()}


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB server of its own."""
    with running("mysql") as started:
        yield started


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of its own."""
    with running("postgresql") as started:
        yield started
