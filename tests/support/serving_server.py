"""One real `visionline serve` process, shared by every test that speaks to one."""

from __future__ import annotations

import base64
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import numpy as np
import pytest
from helpers import ROOT, environment

from modelstore.labels import Labels, write_labels

MODELS = ("digits-keras", "digits-pytorch")
"""Of the demo; one per framework."""


@dataclass(frozen=True)
class Running:
    """A server that is up."""

    process: subprocess.Popen[str]
    folder: Path
    """Its own copy of the demo's serving folder."""
    url: str
    grpc: str
    """host:port"""
    log: Path
    """Its stderr."""
    seconds: float
    """From start to ready."""

    @property
    def host(self) -> str:
        """host:port of HTTP, as Triton's client wants it."""
        return self.url.partition("://")[2]


@contextmanager
def serve(
    folder: Path,
    log: Path,
    *flags: str,
    env: Mapping[str, str] = MappingProxyType({}),
    verify: ssl.SSLContext | bool = True,
    probe: str = "/readyz",
    within: Sequence[str] = (),
) -> Iterator[Running]:
    """Runs `visionline serve`, and ends it with SIGTERM.

    Args:
      env: besides the test's own environment.
      verify: how its certificate is checked, where it has one.
      probe: answers 200 when the tests may begin.
      within: a command that becomes the one after it.
    """
    began = time.monotonic()
    command = [*within, sys.executable, "-m", "pipeline.cli.main", "serve", str(folder)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--port", "0", "--grpc-port", "0", *flags],
            cwd=ROOT, env=environment(**env), stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        url, grpc = _addresses(process, log)
        _wait_until_ready(process, url + probe, log, verify)
        yield Running(process, folder, url, grpc, log, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0, log.read_text()[-3000:]


@pytest.fixture(scope="session")
def server(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo's models, each loaded and warm, and labelled "stable"."""
    root = tmp_path_factory.mktemp("server")
    for model in MODELS:
        # Other tests have pushed further versions.
        shutil.copytree(demo.serving / model / "1", root / "serving" / model / "1")
        write_labels(root / "serving" / model, Labels(versions={"stable": 1}))
    flags = ("--threads", "1", "--set", "control=true")
    with serve(root / "serving", root / "log.txt", *flags) as running:
        yield running


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str]:
    """HTTP's and gRPC's, from the first three lines."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    found = re.findall(r"^  (\S+?)/?   \(", "".join(lines), re.M)
    assert len(found) == 2, f"{lines}\n{log.read_text()[-3000:]}"
    return found[0], found[1]


def _wait_until_ready(
    process: subprocess.Popen[str], url: str, log: Path, verify: ssl.SSLContext | bool
) -> None:
    deadline = time.monotonic() + 120
    while httpx.get(url, timeout=10, verify=verify).status_code != 200:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)


@dataclass(frozen=True)
class Sample:
    """One of the demo's images, and what a model says of it by itself."""

    encoded: bytes
    pixels: Any
    """uint8 [H, W, 3], as the model's own graph decodes it."""
    digit: str
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    """Of `labels`, the likeliest first."""
    indices: tuple[int, ...]
    """Where `labels` are among all classes."""


@pytest.fixture(scope="session")
def samples(demo: Any) -> dict[str, list[Sample]]:
    """By model: ten images, one of every class, answered by `SavedModelPredictor`."""
    from modelstore.predictor import SavedModelPredictor
    from serving.models.engines import SavedModel

    files = {path.name[0]: path for path in demo.kept}
    found: dict[str, list[Sample]] = {}
    for model in MODELS:
        predictor = SavedModelPredictor(demo.serving / model / "1")
        graph = SavedModel(demo.serving / model / "1")
        found[model] = []
        for digit, path in sorted(files.items()):
            encoded = path.read_bytes()
            answer = predictor.predict(encoded)
            pixels = graph.decode([encoded])[0]
            indices = tuple(map(predictor.card.class_names.index, answer.labels))
            found[model].append(
                Sample(encoded, pixels, digit, answer.labels, answer.scores, indices)
            )
    return found


@contextmanager
def in_process(folder: Path) -> Iterator[Any]:
    """A `Service` over a serving folder, in the test's own process."""
    from serving.config import LimitsConfig, ServeConfig
    from serving.models.repository import Repository
    from serving.service import Service

    repository = Repository(ServeConfig(serving=str(folder)), threads=1)
    repository.refresh()
    try:
        yield Service(repository, LimitsConfig())
    finally:
        repository.close()


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def of_model(samples: dict[str, list[Sample]], model: str) -> list[Sample]:
    return samples[model]


@pytest.fixture
def rest(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
def still_fine(server: Running, samples: dict[str, list[Sample]]) -> Iterator[None]:
    """After the test the server lives, answers, and has logged no failure."""
    yield
    sample = samples["digits-keras"][5]
    at = f"{server.url}/predict?model=digits-keras"
    answer = httpx.post(at, content=sample.encoded, timeout=30)
    assert answer.json()["classes"][0]["label"] == sample.digit
    assert "Traceback" not in server.log.read_text()


# --- What answers are compared with


def agree(sample: Sample, labels: Sequence[str], scores: Any) -> None:
    """The same classes in the same order, and the right one first."""
    assert labels[0] == sample.digit
    assert list(labels) == list(sample.labels)
    np.testing.assert_allclose(scores, sample.scores, atol=1e-4)


def agree_rows(model_samples: Sequence[Sample], scores_NC: Any) -> None:
    """The classes have their scores, the right one the highest, in the order of the images."""
    scores_NC = np.asarray(scores_NC)
    assert scores_NC.shape == (len(model_samples), 10)
    for sample, scores in zip(model_samples, scores_NC, strict=True):
        assert sample.labels[0] == sample.digit
        assert scores.argmax() == sample.indices[0]
        np.testing.assert_allclose(scores[list(sample.indices)], sample.scores, atol=1e-4)


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def example(sample: Sample) -> Any:
    """A raw example, serialised, as the pipeline's."""
    import tensorflow as tf

    encoded = tf.train.Feature(bytes_list=tf.train.BytesList(value=[sample.encoded]))
    return tf.train.Example(features=tf.train.Features(feature={"image/encoded": encoded}))
