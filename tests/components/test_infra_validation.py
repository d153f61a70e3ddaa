"""Trials of a candidate in the real server, and every way in which one can go wrong.

One server process serves all candidates that are tried to the end; whichever name a
candidate has says what that server does wrong, see `LIES`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Demo
from helpers import start_python, wait_until
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts

from common.config.strict import dump
from common.errors import DataError, RunError
from common.files import read_json, write_json
from common.images.plain import look
from components import details
from components.infra_validation import executor as executing
from components.infra_validation import standby, validate
from components.infra_validation.child import ServerProcess, get
from components.infra_validation.config import InfraValidationConfig
from components.infra_validation.executor import InfraValidatorExecutor
from components.infra_validation.probes import make_probes
from components.infra_validation.report import REPORT, NotBlessedError, Report
from components.infra_validation.sample import Example, compare, requests, sample
from components.pusher import PusherExecutor
from modelstore.artifact import GOLDEN, MODEL_CARD, MODEL_ONNX, SERVING_FORMAT

LIES = """
import dataclasses
import numpy as np
from serving.answer import Answer

honest = Answer.of

def of(loaded, scores_NC):
    told = honest(loaded, scores_NC)
    lie = {
        "order": lambda s: s[::-1],
        "partial": lambda s: s[:-1] if len(s) > 1 else s,
        "nan": lambda s: np.where(np.arange(s.shape[1]) == 0, np.nan, s),
        "shifted": lambda s: np.roll(s, 1, axis=1),
        "near": lambda s: s + np.float32(2e-3),
        "single": lambda s: s if len(s) > 1 else s[:, ::-1],
    }.get(loaded.name)
    if loaded.name == "failing":
        raise RuntimeError("out of order")
    return told if lie is None else dataclasses.replace(told, scores_NC=lie(told.scores_NC))

Answer.of = of

from serving.models import loaded

make = loaded.LoadedVersion.__init__

def init(self, directory, *args, **kwargs):
    make(self, directory, *args, **kwargs)
    if directory.parent.name == "raw":  # as before there was a decoder
        self._batcher._decode = lambda encoded, first=0: self._saved_model.decode(encoded)

loaded.LoadedVersion.__init__ = init
"""
QUICK = InfraValidationConfig(examples=8, timeout_seconds=60)


@dataclasses.dataclass
class Trials:
    """Runs the executor on candidates, as the orchestrator does, without a store."""

    root: Path
    model: Path
    """A whole model artifact; tests change copies."""
    examples: Path
    """Raw examples."""
    split: str = "test"
    recorded: dict[str, Any] = dataclasses.field(default_factory=dict)
    ids: int = 0

    def candidate(self) -> Path:
        """A copy of the model artifact to break; its directory for serving."""
        self.ids += 1
        copy = self.root / f"model-{self.ids}"
        shutil.copytree(self.model, copy)
        return copy / SERVING_FORMAT

    def run(
        self,
        source: Path | None = None,
        name: str = "digits",
        *,
        evaluator: int = 1,
        config: InfraValidationConfig = QUICK,
    ) -> Any:
        """The blessing; `recorded` is what was left for the execution."""
        self.ids += 1
        examples = _artifact(standard_artifacts.Examples, self.examples)
        examples.split_names = '["train", "val", "test"]'
        blessing = _artifact(standard_artifacts.InfraBlessing, self.root / f"blessing-{self.ids}")
        model_blessing = _artifact(standard_artifacts.ModelBlessing, self.root / "x")
        model_blessing.set_int_custom_property("blessed", evaluator)
        model = source.parent if source else self.model
        inputs = {
            "model": [_artifact(standard_artifacts.Model, model)],
            "model_blessing": [model_blessing],
            "examples": [examples],
        }
        properties = {
            "config": json.dumps(dump(config)),
            "name": name,
            "split": self.split,
            "work_dir": str(self.root / "work"),
            "code_digest": "x",
        }
        context = BaseExecutor.Context(tmp_dir=str(self.root / "tmp"), unique_id="7")
        details.take()
        self.blessing = blessing
        try:
            InfraValidatorExecutor(context).Do(inputs, {"blessing": [blessing]}, properties)
        finally:
            self.recorded = details.take()
        return blessing

    def refused(self, *args: Any, **kwargs: Any) -> str:
        """The reason why a candidate is not blessed; checks all that says so."""
        blessing = self.run(*args, **kwargs)
        directory = Path(blessing.uri)
        assert blessing.get_int_custom_property("blessed") == 0
        assert (directory / "INFRA_NOT_BLESSED").is_file()
        assert not (directory / "INFRA_BLESSED").exists()
        report = Report.read(directory)
        assert not report.blessed and report.why_not
        assert self.recorded["blessed"] == 0
        assert self.recorded["why_not_blessed"] == report.why_not
        return report.why_not

    def fails(self, *args: Any, **kwargs: Any) -> BaseException:
        """What the execution fails with; nothing may look like a blessing."""
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            self.run(*args, **kwargs)
        assert self.blessing.get_int_custom_property("blessed") == 0
        assert not (Path(self.blessing.uri) / "INFRA_BLESSED").exists()
        return raised.value


def _artifact(kind: Any, uri: Path) -> Any:
    artifact = kind()
    artifact.uri, artifact.id = str(uri), 1
    return artifact


def _first(folder: Path) -> Path:
    return min(folder.iterdir(), key=lambda p: int(p.name))


@pytest.fixture
def trials(demo: Demo, tmp_path: Path) -> Trials:
    """Of the demo's Keras model."""
    made = demo.workspace / "artifacts"
    model = _first(made / "Trainer" / "model")
    return Trials(tmp_path, model, _first(made / "ImageExampleGen" / "examples"))


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that lies about the models that have the name of a lie."""
    root = tmp_path_factory.mktemp("server")
    (root / "sitecustomize.py").write_text(LIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        server = ServerProcess(root / "work", 1)
    yield server
    server.close()


@pytest.fixture
def shared(liar: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> ServerProcess:
    """The executor takes the shared server, and leaves it running."""
    monkeypatch.setattr(executing, "take", lambda root, threads: liar)
    monkeypatch.setattr(ServerProcess, "close", lambda self: None)
    return liar


# --- The whole of it


def test_a_good_model_is_blessed_by_a_server_of_its_own(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the server in production, on the same machine.
    monkeypatch.setenv("VISIONLINE_SERVE_TOKEN", "a-token-that-only-clients-know")
    blessing = trials.run(config=dataclasses.replace(QUICK, examples=16, max_p99_ms=60_000))
    assert blessing.get_int_custom_property("blessed") == 1
    files = {p.name for p in Path(blessing.uri).iterdir()}
    assert files == {"INFRA_BLESSED", "infra_validation.json"}
    report = Report.read(Path(blessing.uri))
    assert report.blessed and report.tried and not report.why_not
    assert report.probes > 20
    assert report.examples == 16 and report.engine in ("onnx", "tensorflow")
    assert report.largest_difference is not None and report.largest_difference < 1e-4
    assert report.loading_seconds is not None and 0 < report.loading_seconds < 60
    assert set(report.latency) == {"rest", "grpc"}
    for latency in report.latency.values():
        assert 0 < latency.p50_ms <= latency.p99_ms and latency.requests >= 16
    assert trials.recorded["grpc_p50_ms"] == report.latency["grpc"].p50_ms
    assert "why_not_blessed" not in trials.recorded
    assert not (trials.root / "work").exists(), "the server's folder is gone"


def test_what_the_evaluator_did_not_bless_is_not_tried(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "take", None)
    blessing = trials.run(evaluator=0)
    assert blessing.get_int_custom_property("blessed") == 0, "nothing is pushed"
    assert [p.name for p in Path(blessing.uri).iterdir()] == [REPORT]
    report = Report.read(Path(blessing.uri))
    assert not report.tried and not report.blessed
    reason = "not tried, since the Evaluator did not bless the model"
    assert report.why_not == reason and trials.recorded == {"skipped": reason}


# --- Models that will not do


def _break_onnx(source: Path) -> None:
    (source / MODEL_ONNX).write_bytes(b"no model")


def _diverge(source: Path) -> None:
    """Another model's SavedModel: the other scores are as well-formed as these."""
    (other,) = (
        p / SERVING_FORMAT
        for p in source.parents[1].glob("other-*")
        if (p / SERVING_FORMAT).is_dir()
    )
    for part in ("saved_model.pb", "variables", "assets"):
        target = source / part
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        copy = shutil.copytree if (other / part).is_dir() else shutil.copyfile
        copy(other / part, target)


def _without(*names: str) -> Callable[[Path], None]:
    def save_again(source: Path) -> None:
        import tensorflow as tf

        model = tf.saved_model.load(str(source))
        kept = {k: v for k, v in model.signatures.items() if k not in names}
        tf.saved_model.save(model, str(source), signatures=kept)

    return save_again


def _break_saved_model(source: Path) -> None:
    (source / "saved_model.pb").write_bytes(b"\xff" * 100)


def _lose(name: str) -> Callable[[Path], None]:
    return lambda source: (source / name).unlink()


def _other_golden(source: Path) -> None:
    with np.load(source / GOLDEN) as golden:
        images, scores = golden["images_NHW3"], golden["scores_NC"]
    np.savez(source / GOLDEN, images_NHW3=images, scores_NC=np.roll(scores, 1, axis=1))


def _fewer_classes(source: Path) -> None:
    card = read_json(source / MODEL_CARD)
    write_json(source / MODEL_CARD, {**card, "class_names": card["class_names"][:-1]})


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("onnx", _break_onnx, "model.onnx cannot be loaded"),
        ("no-onnx", _lose(MODEL_ONNX), "model.onnx cannot be loaded"),
        ("diverging", _diverge, "differs from the trained model"),
        ("no-decode", _without("decode_images"), "lacks the signature decode_images"),
        ("no-bytes", _without("serving_bytes"), "serving_bytes"),
        ("no-default", _without("serving_default"), "serving_default"),
        ("saved-model", _break_saved_model, "cannot be loaded"),
        ("card", _lose(MODEL_CARD), "model.json"),
        ("no-golden", _lose(GOLDEN), "golden.npz"),
        ("golden", _other_golden, "differs from the trained model"),
        ("classes", _fewer_classes, "classes"),
    ],
)
def test_a_model_that_cannot_be_served_is_not_blessed(
    trials: Trials, shared: ServerProcess, demo: Demo, name: str, damage: Any, words: str
) -> None:
    if damage is _diverge:
        models = sorted(
            (demo.workspace / "artifacts/Trainer/model").iterdir(), key=lambda p: int(p.name)
        )
        shutil.copytree(models[1], trials.root / "other-1")
    source = trials.candidate()
    damage(source)
    assert words in trials.refused(source, name)


def test_a_tolerance_of_the_model_s_own_does_not_help_it(
    trials: Trials, shared: ServerProcess
) -> None:
    source = trials.candidate()
    card = read_json(source / MODEL_CARD)
    write_json(source / MODEL_CARD, {**card, "parity_tolerance": 1e9})
    _other_golden(source)
    assert "asked by pixels, differs from the model itself" in trials.refused(source, "tolerant")


# --- Servers that answer wrongly


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("order", "differs from the model itself"),
        ("shifted", "differs from the model itself"),
        ("near", "differs from the model itself by 0.002"),
        ("single", "differs from the model itself"),
        ("partial", "expected [8, 10]"),
        ("nan", ""),
        ("failing", "500"),
    ],
)
def test_wrong_answers_are_not_blessed(
    trials: Trials, shared: ServerProcess, lie: str, words: str
) -> None:
    assert words in trials.refused(name=lie)


def test_a_server_that_sees_other_pixels_is_not_blessed(
    trials: Trials, shared: ServerProcess
) -> None:
    """It answers all examples rightly: those are normalised."""
    reason = trials.refused(name="raw")
    assert reason.startswith("asked about a JPEG with the EXIF orientation 2: POST /predict")
    assert "differs from the model itself" in reason


def test_the_probes_are_of_every_kind_and_none_is_plain(trials: Trials) -> None:
    (example,) = sample(trials.examples / "Split-test", 1)
    probes = make_probes(example)
    assert len({p.kind for p in probes}) == len(probes) > 20
    for probe in probes:
        assert look(probe.raw.encoded) is None and look(probe.normalised.encoded)


def test_a_model_that_is_too_slow_is_not_blessed(trials: Trials, shared: ServerProcess) -> None:
    reason = trials.refused(name="slow", config=dataclasses.replace(QUICK, max_p99_ms=0.01))
    assert "at most 0.01 ms are allowed (infra_validation.max_p99_ms)" in reason
    assert trials.recorded["rest_p99_ms"] > 0.01, "what was measured is recorded all the same"


def test_an_image_that_the_server_refuses_is_a_reason(
    trials: Trials, shared: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_text(split: Path, count: int) -> list[Example]:
        found = sample(split, count)
        return [*found[:-1], dataclasses.replace(found[-1], encoded=b"no image")]

    monkeypatch.setattr(validate, "sample", with_text)
    monkeypatch.setattr(validate, "own_answers", lambda *_: np.full((8, 10), 0.1, np.float32))
    assert "REST refuses an image: 400" in trials.refused(name="text")


# --- What fails, and says nothing about the model


def test_no_examples_fail_the_execution(
    trials: Trials, shared: ServerProcess, tmp_path: Path
) -> None:
    trials.examples = tmp_path / "empty"
    (tmp_path / "empty" / "Split-test").mkdir(parents=True)
    error = trials.fails(name="no-examples")
    assert isinstance(error, DataError) and "no example" in str(error)


def test_damaged_examples_fail_the_execution(
    trials: Trials, shared: ServerProcess, tmp_path: Path
) -> None:
    trials.examples = tmp_path / "damaged"
    (tmp_path / "damaged" / "Split-test").mkdir(parents=True)
    (tmp_path / "damaged" / "Split-test" / "data.gz").write_bytes(b"\x1f\x8b nothing")
    trials.fails(name="damaged-examples")


PLACES = [
    (validate, "sample"),
    (validate, "publish"),
    (validate, "own_answers"),
    (validate, "_compare"),
    (validate, "golden"),
    (validate, "_measure"),
    (executing, "validate"),
    (executing, "write_atomic"),
    (executing, "take"),
    (Report, "write"),
    (ServerProcess, "ports"),
    (ServerProcess, "wait_until_loaded"),
    (ServerProcess, "check"),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p[1])
def test_an_error_anywhere_is_no_blessing(
    trials: Trials, shared: ServerProcess, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("by chance")

    monkeypatch.setattr(*place, broken)
    assert str(trials.fails(name="good")) == "by chance"


@pytest.mark.parametrize("place", [(validate, "_measure"), (executing, "write_atomic")])
def test_ctrl_c_is_no_blessing(
    trials: Trials, shared: ServerProcess, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(*place, interrupted)
    assert isinstance(trials.fails(name="good"), KeyboardInterrupt)


def test_a_measurement_that_was_left_out_is_no_blessing(
    trials: Trials, shared: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "_time", lambda *args: None)
    assert "not tried to the end" in str(trials.fails(name="good"))


def test_a_server_that_is_killed_while_it_is_asked(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "_REQUESTS", 10**9)
    monkeypatch.setattr(validate, "_SECONDS", 60)
    root = trials.root / "work"
    standby.warm_up(root, QUICK.threads)
    server = standby._waiting  # type: ignore[union-attr]

    def kill() -> None:
        port, _ = server.ports(time.monotonic() + 60)
        wait_until(lambda: b"AVAILABLE" in get(port, "/v1/models/digits", 10)[1])
        time.sleep(0.5)
        server.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    error = trials.fails()
    killer.join()
    assert isinstance(error, RunError)
    assert "was killed by SIGKILL while it" in str(error)
    assert f"Serving {root / 'serving'}" in str(error), "the end of its log"
    assert not root.exists()


def _stopped(process: int) -> None:
    os.kill(process, signal.SIGSTOP)


def test_a_server_that_never_listens(trials: Trials) -> None:
    root = trials.root / "work"
    standby.warm_up(root, 1)
    server = standby._waiting  # type: ignore[union-attr]
    _stopped(server.process.pid)
    error = trials.fails(config=dataclasses.replace(QUICK, timeout_seconds=1.0))
    assert isinstance(error, RunError) and "it did not listen in time" in str(error)
    assert "infra_validation.timeout_seconds" in str(error)
    assert server.process.poll() == -signal.SIGKILL


def test_a_server_that_stops_to_answer(
    trials: Trials, liar: ServerProcess, monkeypatch: Any
) -> None:
    """Its connections are taken by the kernel, and nothing comes."""
    monkeypatch.setattr(executing, "take", lambda root, threads: liar)
    monkeypatch.setattr(ServerProcess, "close", lambda self: None)
    liar.ports(time.monotonic() + 60)
    _stopped(liar.process.pid)
    try:
        error = trials.fails(name="stopped", config=dataclasses.replace(QUICK, timeout_seconds=1.0))
    finally:
        os.kill(liar.process.pid, signal.SIGCONT)
    assert isinstance(error, RunError) and "was not ready" in str(error)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("import os; os.abort()", "was killed by SIGABRT before it listened"),
        ("raise SystemExit('no such port')", "ended with 1 before it listened"),
        (
            "import socket\n"
            "def bind(*_): raise OSError(98, 'Address already in use')\n"
            "socket.socket.bind = bind",
            "Cannot listen on 127.0.0.1:0 for HTTP: Address already in use",
        ),
    ],
)
def test_a_server_that_cannot_start(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(how)
    monkeypatch.syspath_prepend(tmp_path)
    error = trials.fails()
    assert isinstance(error, RunError) and words in str(error)


def test_the_server_dies_with_the_pipeline(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from components.infra_validation.standby import take\n"
        "print(take(Path(sys.argv[1]), 1).process.pid, flush=True); time.sleep(600)"
    )
    parent = start_python("-c", code, str(tmp_path / "work"))
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _runs(pid), seconds=20)


def _runs(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_server_that_is_not_needed_is_ended(tmp_path: Path) -> None:
    standby.warm_up(tmp_path / "work", 1)
    process = standby._waiting.process  # type: ignore[union-attr]
    standby.warm_up(tmp_path / "work", 1)
    assert standby._waiting.process is process, "one is enough"  # type: ignore[union-attr]
    standby.discard()
    assert process.poll() == -signal.SIGKILL and not (tmp_path / "work").exists()
    standby.discard()


# --- Parts


def _example(label: str = "a", size: int = 10, pixels: int = 4) -> Example:
    return Example(b"x" * size, b"", label, pixels)


def test_the_sample_has_every_class_it_can(trials: Trials) -> None:
    found = sample(trials.examples / "Split-test", 10)
    assert len(found) == 10 and len({e.label for e in found}) >= 9
    assert found == sample(trials.examples / "Split-test", 10), "it is always the same"
    assert all(e.encoded.startswith(b"\x89PNG") and e.pixels == 64 for e in found)


def test_a_small_split_is_taken_whole(trials: Trials, shared: ServerProcess) -> None:
    found = sample(trials.examples / "Split-test", 256)
    assert 150 < len(found) < 256 and len({e.serialised for e in found}) == len(found)


def test_requests_stay_below_the_server_s_limits() -> None:
    mebi = 2**20
    sizes = [3 * mebi, 3 * mebi, 3 * mebi, 20 * mebi, 1]
    assert [len(r) for r in requests([_example(size=s) for s in sizes])] == [2, 1, 1, 1]
    pixels = [60_000_000, 30_000_000, 20_000_000, 1]
    assert [len(r) for r in requests([_example(pixels=p) for p in pixels])] == [2, 2]
    assert requests([]) == []


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[0.1, 0.9]], np.float32),
        np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]], np.float32),
        np.array([[0.1, 0.9, 0.0], [0.8, 0.2, 0.0]], np.float32),
        np.array([[0.8, 0.2], [0.1, 0.9]], np.float32),
        np.array([[0.1, 0.9], [0.8, np.nan]], np.float32),
        np.array([[0.1, 0.9], [0.8, np.inf]], np.float32),
        np.array([[0.1, 0.9], [0.8, 0.2011]], np.float32),
        np.array([0.1, 0.9, 0.8, 0.2], np.float32),
    ],
)
def test_what_is_not_the_same_is_refused(scores: Any) -> None:
    expected = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert compare("it", expected + np.float32(5e-4), expected) == pytest.approx(5e-4, rel=0.01)
    with pytest.raises(NotBlessedError):
        compare("it", scores, expected)


def test_a_model_that_answers_nan_itself_is_refused() -> None:
    scores = np.full((2, 2), np.nan, np.float32)
    with pytest.raises(NotBlessedError, match="no finite numbers"):
        compare("it", scores, scores)


def test_pusher_obeys(tmp_path: Path) -> None:
    model, infra = (
        _artifact(kind, tmp_path / "x")
        for kind in (standard_artifacts.ModelBlessing, standard_artifacts.InfraBlessing)
    )
    model.set_int_custom_property("blessed", 1)
    pushed = _artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    inputs = {"model_blessing": [model], "infra_blessing": [infra]}
    properties = {"destination": str(tmp_path / "serving"), "name": "m"}
    for said in (None, 0):
        if said is not None:
            infra.set_int_custom_property("blessed", said)
        PusherExecutor(None).Do(inputs, {"pushed_model": [pushed]}, properties)
        assert pushed.get_int_custom_property("pushed") == 0
        why_not = pushed.get_string_custom_property("why_not_pushed")
        assert why_not == "infra validation did not bless it"
        assert not (tmp_path / "serving").exists()
    (tmp_path / "x").mkdir()
    Report(why_not="loading it took\n9 s").write(tmp_path / "x")
    PusherExecutor(None).Do(inputs, {"pushed_model": [pushed]}, properties)
    why_not = pushed.get_string_custom_property("why_not_pushed")
    assert why_not == "infra validation: loading it took 9 s"
