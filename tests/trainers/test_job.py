"""One training in a process of its own: how it succeeds, fails, dies, and what is said."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from colour_model import write_onnx
from helpers import environment, python, start_python, wait_until
from served_versions import serve
from softmax_regression import bright_and_dark, write_split
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.errors import OutOfRangeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from common.config.strict import dump
from common.errors import DataError, TrainingError
from common.files import read_json, write_json
from common.process import progress
from common.process.parent import PARENT_VARIABLE
from components.trainer import child
from components.trainer.child import run_job
from modelstore.artifact import MODEL_ONNX, NATIVE
from trainers import curves
from trainers.config import CheckpointConfig, DistillationConfig, TrainConfig
from trainers.contract import load_backend
from trainers.data import LABELS
from trainers.frameworks import frameworks
from trainers.history import BEST, CURVES, HISTORY, TENSORBOARD
from trainers.job import TrainJob, explain, fit, is_out_of_memory

pytestmark = pytest.mark.pipelines

OWN_MODELS = """
import os
import resource
import signal
import time
from pathlib import Path

import torch
from torch import nn

STEPS = 3
# of an epoch

class Net(nn.Module):
    def __init__(self, classes, in_training):
        super().__init__()
        self.dense, self.in_training = nn.Linear(3, classes), in_training

    def forward(self, images_N3HW):
        if self.training:
            self.in_training()
        return self.dense(images_N3HW.mean((2, 3)))

def good(num_classes, image_size):
    return Net(num_classes, lambda: None)

def broken(num_classes, image_size):
    raise OSError("weights.bin is not where it was")

def raising(num_classes, image_size):
    def fail():
        raise ValueError("the moon is in the wrong phase")
    return Net(num_classes, fail)

def no_more_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + 2**26
    resource.setrlimit(resource.RLIMIT_AS, (size, size))

def memory(num_classes, image_size):
    return Net(num_classes, lambda: (no_more_memory(), torch.ones(2**29)))

def hungry(num_classes, image_size):
    net = Net(num_classes, lambda: None)
    def refuse(module, inputs):
        if module.training:
            count = len(inputs[0])
            raise MemoryError("no room for 5") if count == 5 else ValueError(f"there are {count}")
    net.register_forward_pre_hook(refuse)
    return net

def counted(num_classes, image_size):
    def count():
        with open("steps.txt", "a") as file:
            file.write("x")
    return Net(num_classes, count)

def in_fourth_epoch(act):
    steps = []
    def step():
        steps.append(1)
        if len(steps) > 3 * STEPS:
            act()
    return step

def diverging(num_classes, image_size):
    net = Net(num_classes, lambda: None)
    def poison():
        with torch.no_grad():
            net.dense.weight.fill_(float("nan"))
    net.in_training = in_fourth_epoch(poison)
    return net

def dying(num_classes, image_size):
    return Net(num_classes, in_fourth_epoch(lambda: os.kill(os.getpid(), signal.SIGKILL)))

def endless(num_classes, image_size):
    Path("endless.pid").write_text(str(os.getpid()))
    time.sleep(600)
"""

FIT = """
import json, sys
from pathlib import Path

class Without:
    "Finds all but the packages that are to be absent."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        absent = {"tensorflow", "keras", "jax", "tf_keras", "tfx", "apache_beam"}
        hidden = name.partition(".")[0] in absent
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, attribute):
        return getattr(self.finder, attribute)

sys.meta_path[:] = map(Without, sys.meta_path)

from trainers.contract import load_backend
from common.files import read_json
from trainers.job import TrainJob, fit
from common.config.strict import parse

fitted = fit(load_backend("pytorch"), parse(TrainJob, read_json(Path(sys.argv[1]))))
print(json.dumps([len(fitted.epochs), fitted.learner.parameter_count, len(fitted.compared_NHW3)]))
"""

RUN_JOB = """
import sys
from pathlib import Path
from components.trainer.child import run_job
from common.files import read_json
from trainers.job import TrainJob
from common.config.strict import parse
run_job(parse(TrainJob, read_json(Path(sys.argv[1]))), Path(sys.argv[2]))
"""


def make_job(folder: Path, model: str = "small_cnn", framework: str = "pytorch", **settings):
    """A job on 24 images of 8×8 pixels; the folder is made."""
    for split in ("train", "val"):
        write_split(folder / split, bright_and_dark(24, size=8))
    (folder / "run").mkdir()
    config = {"epochs": 2, "batch_size": 8, "threads": 1, **settings}
    return TrainJob(
        config=TrainConfig(framework=framework, model=model, **config),
        train_split=str(folder / "train"),
        val_split=str(folder / "val"),
        class_names=("dark", "bright"),
        transform_graph=str(folder / "no-graph"),
        model_dir=str(folder / "model"),
        run_dir=str(folder / "run"),
        checkpoint_dir=str(folder / "checkpoints"),
        dataset_digest="",
        transform_digest="",
    )


@pytest.fixture(scope="module")
def own_models(tmp_path_factory) -> Path:
    """A folder to run in, with the package `mine` in it."""
    folder = tmp_path_factory.mktemp("current")
    (folder / "mine").mkdir()
    (folder / "mine" / "nets.py").write_text(OWN_MODELS)
    return folder


FAILING = ("broken", "raising", "memory", "hungry")
HUNGRY = {"batch_size": 5, "lower_batch_size": True}


@pytest.fixture(scope="module")
def failures(own_models, tmp_path_factory):
    """Runs the failing trainings, two at a time: each imports PyTorch."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.syspath_prepend(own_models)
        patch.chdir(own_models)
        folders = {name: tmp_path_factory.mktemp(name) for name in FAILING}
        settings = {"hungry": HUNGRY}
        jobs = {
            name: make_job(folders[name], f"mine.nets:{name}", **settings.get(name, {}))
            for name in FAILING
        }
        yield {name: pool.submit(run_job, jobs[name], folders[name]) for name in FAILING}


def message(failure: Future) -> str:
    with pytest.raises(TrainingError) as e:
        failure.result()
    return str(e.value)


def test_an_own_model_that_breaks_says_why(failures):
    said = message(failures["broken"])
    assert said.startswith("model: mine.nets:broken could not be built")
    assert "OSError: weights.bin is not where it was (nets.py, line " in said


def test_an_unforeseen_error_is_told_with_its_type(failures):
    expected = "Training failed: ValueError: the moon is in the wrong phase."
    assert message(failures["raising"]) == expected


def test_memory_that_pytorch_cannot_get_is_told_with_the_remedy(failures):
    said = message(failures["memory"])
    assert said.startswith("Training failed: Out of memory. RuntimeError: ")
    assert "Try a smaller train.batch_size (it is 8), image size or model" in said
    assert "With train.lower_batch_size = true it starts again by itself" in said
    assert "can't allocate memory: you tried to allocate 2147483648 bytes" in said


def test_where_memory_runs_out_half_as_many_images_are_tried(failures):
    assert message(failures["hungry"]) == "Training failed: ValueError: there are 2."


@pytest.mark.parametrize(
    ("error", "of_memory"),
    [
        (MemoryError("Unable to allocate 2.00 GiB for an array"), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("OOM when allocating tensor with shape[9,9]"), True),
        (RuntimeError("the model has no room for improvement"), False),
    ],
)
def test_who_says_that_memory_ran_out(error, of_memory):
    said = explain(error)
    assert f"{type(error).__name__}: {error}" in said
    assert said.startswith("Out of memory. ") == is_out_of_memory(error) == of_memory


DEATHS = [
    ("os.kill(os.getpid(), 9)", "was killed (SIGKILL), which is what the kernel or a container"),
    ("os.kill(os.getpid(), 11)", "was killed by SIGSEGV; the log file has its last words."),
    ("os._exit(7)", "Training failed: the training process ended with exit code 7"),
    ("os._exit(0)", "Training failed: the training process ended with exit code 0"),
]


@pytest.mark.parametrize(("death", "words"), DEATHS)
def test_a_child_that_dies_without_a_word_is_explained(tmp_path, monkeypatch, death, words):
    # Python imports sitecustomize when it starts: the child dies before it can speak.
    (tmp_path / "sitecustomize.py").write_text(f"import os\n{death}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainingError) as e:
        run_job(make_job(tmp_path), tmp_path)
    assert words in str(e.value)
    assert ("smaller train.batch_size" in str(e.value)) == ("9" in death)


def test_a_child_whose_parent_died_before_it_could_ask_ends_at_once(tmp_path):
    write_json(tmp_path / "job.json", dump(make_job(tmp_path)))
    paths = (str(tmp_path / "job.json"), str(tmp_path / "result.json"))
    done = python("-m", "trainers.job", *paths, **{PARENT_VARIABLE: str(2**22 + 1)})
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "result.json").exists()


def test_the_training_dies_with_the_pipeline(own_models, tmp_path):
    write_json(tmp_path / "in.json", dump(make_job(tmp_path, "mine.nets:endless")))
    arguments = ("-c", RUN_JOB, str(tmp_path / "in.json"), str(tmp_path))
    parent = start_python(*arguments, cwd=own_models, PYTHONPATH=path_with(own_models))
    pid_file = own_models / "endless.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    pid = int(pid_file.read_text())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(pid), seconds=10)


@pytest.mark.parametrize("model", ["diverging", "dying"])
def test_what_a_training_learned_is_left_when_it_fails(own_models, tmp_path, monkeypatch, model):
    """Killed, or failed by itself, in the fourth epoch."""
    monkeypatch.chdir(own_models)
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_models)])
    each_step = CheckpointConfig(every_steps=1)
    job = make_job(tmp_path, f"mine.nets:{model}", epochs=1000, checkpoint=each_step)
    reason = "killed" if model == "dying" else "The loss became nan in epoch 4"
    with pytest.raises(TrainingError, match=reason) as e:
        run_job(job, tmp_path)
    assert f"The figures of 3 epochs are kept in {job.run_dir} (history.json" in str(e.value)
    (checkpoints,) = Path(job.checkpoint_dir).iterdir()
    last = f"{checkpoints}/step-00000[89]; the same command goes on from there"
    assert re.search(f"The last checkpoint is {last}", str(e.value))
    history = read_json(Path(job.run_dir) / HISTORY)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert (Path(job.run_dir) / CURVES).read_bytes().startswith(b"\x89PNG")
    assert any((Path(job.run_dir) / TENSORBOARD).iterdir())


def test_a_trained_model_whose_export_fails_is_kept(tmp_path):
    job = make_job(tmp_path)
    with pytest.raises(TrainingError, match="no-graph") as e:  # there is no transform graph
        run_job(job, tmp_path)
    native = Path(job.run_dir) / NATIVE
    assert f"The trained model is kept in {native}, which train.pretrained takes." in str(e.value)
    again = TrainConfig(framework="pytorch", model="small_cnn", pretrained=str(native))
    load_backend("pytorch").build(again, num_classes=2, image_size=(8, 8))


def test_a_training_that_has_ended_takes_no_step_again(own_models, tmp_path, monkeypatch):
    monkeypatch.chdir(own_models)
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_models)])
    job = make_job(tmp_path, "mine.nets:counted")
    reading, writing = os.pipe()
    monkeypatch.setenv(progress.FD_VARIABLE, str(writing))
    backend = load_backend("pytorch")
    first, again = fit(backend, job), fit(backend, job)
    os.close(writing)
    notes = [e["text"] for e in progress.events(reading) if e["kind"] == "note"]
    assert (own_models / "steps.txt").read_text() == "x" * 6
    assert (first.epochs, first.seconds) == (again.epochs, again.seconds)
    images_NHW3 = first.compared_NHW3
    assert (first.learner.predict(images_NHW3) == again.learner.predict(images_NHW3)).all()
    (log,) = (Path(job.run_dir) / TENSORBOARD).iterdir()
    assert losses_in(log, [0, 1, 1, 2]) == pytest.approx([e.val_loss for e in again.epochs])
    assert [note.partition(":")[0].partition("(")[0] for note in notes] == [
        "The weights of epoch 2 of 2 are exported",
        "The training goes on from its end, after epoch 2 ",
        "The weights of epoch 2 of 2 are exported",
    ]


def test_labels_of_no_class_never_reach_the_loss(tmp_path):
    job = make_job(tmp_path)
    labels = np.load(Path(job.val_split, LABELS))
    labels[:3] = -1, 2, 7
    np.save(Path(job.val_split, LABELS), labels)
    with pytest.raises(DataError, match=r"'val': expected labels from 0 to 1, .* 3 of 24 images"):
        fit(load_backend("pytorch"), job)


def test_a_student_is_taught_from_the_first_step_on(tmp_path):
    """A teacher who says that all is bright is believed, whatever the labels say."""
    (tmp_path / "source").mkdir()
    write_onnx(tmp_path / "source" / MODEL_ONNX, 8 / 255, bias=(20, 0))
    teacher = serve(tmp_path, classes=("bright", "dark"))
    distillation = DistillationConfig(model=str(teacher), alpha=1.0)
    job = make_job(tmp_path, distillation=distillation, epochs=3, learning_rate=0.01)
    backend = load_backend("pytorch")
    backend.configure(threads=1, seed=0)
    scores_NC = fit(backend, job).learner.predict(bright_and_dark(24, size=8).images_NHW3)
    assert (scores_NC.argmax(axis=1) == job.class_names.index("bright")).all()


def test_drawing_takes_little_of_a_training(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(curves.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(curves, "draw", lambda *_: clock.__setitem__(0, clock[0] + 1))
    monkeypatch.setattr(curves.Curve, "of", lambda *_: None)
    config = TrainConfig(framework="pytorch", model="small_cnn")
    drawing = curves.Drawing(config, tmp_path / CURVES)
    drawn = []
    for _ in range(1000):
        clock[0] += 0.1
        before = clock[0]
        drawing.after_epoch([])
        drawn.append(clock[0] - before)
    assert 1 <= sum(drawn) <= 0.06 * clock[0]


def path_with(folder: Path) -> str:
    return os.pathsep.join((environment()["PYTHONPATH"], str(folder)))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_pytorch_trains_an_own_model_without_tensorflow(own_models, tmp_path):
    job = make_job(tmp_path, "mine.nets:good", learning_rate=0.05)
    write_json(tmp_path / "job.json", dump(job))
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", FIT, str(tmp_path / "job.json")],
        cwd=own_models,
        env=environment(PYTHONPATH=path_with(own_models), **{progress.FD_VARIABLE: str(writing)}),
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(writing)
        events = list(progress.events(reading))
        printed = child.stdout.read()
    assert child.returncode == 0
    assert json.loads(printed) == [2, 8, 16]
    first = next(e for e in events if e["kind"] == "progress")
    assert (first["epoch"], first["epochs"], first["step"], first["steps"]) == (1, 2, 1, 6)
    history = read_json(tmp_path / "run" / HISTORY)
    said = [e for e in events if e["kind"] == "epoch"]
    told = [{k: v for k, v in epoch.items() if k != BEST} for epoch in history]
    assert [{"kind": "epoch", "epochs": 2, **epoch} for epoch in told] == said
    assert (tmp_path / "run" / CURVES).read_bytes().startswith(b"\x89PNG")
    (log,) = (tmp_path / "run" / TENSORBOARD).iterdir()
    assert losses_in(log) == pytest.approx([epoch["val_loss"] for epoch in history])
    assert any((tmp_path / "model" / NATIVE).iterdir())


def losses_in(log: Path, steps: Sequence[int] = (0, 1, 2)) -> list[float]:
    """The validation losses of an event file, as TensorBoard reads it without TensorFlow."""
    assert log.name.startswith("events.out.tfevents.")
    reader = PyRecordReader_New(str(log))
    events = []
    with contextlib.suppress(OutOfRangeError):
        while True:
            reader.GetNext()
            events.append(Event.FromString(reader.record()))
    assert [e.step for e in events] == list(steps)
    values = [{v.tag: v.simple_value for v in e.summary.value} for e in events]
    return [v["loss/val"] for v in values if v]


@pytest.mark.parametrize("framework", frameworks())
def test_a_loss_that_is_no_number_names_the_remedy(tmp_path, framework):
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "warmup_epochs": 0.0}
    job = make_job(tmp_path, framework=framework, **settings)
    with pytest.raises(TrainingError, match=r"The loss became (nan|inf) in epoch 1, step \d") as e:
        fit(load_backend(framework), job)
    assert "Try a lower train.learning_rate (it is 1e+30)" in str(e.value)


def test_progress_of_a_writer_that_died_within_a_line(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b'{"kind": "stage"}\n{"kind": "epo')
    os.close(writing)
    assert list(progress.events(reading)) == [{"kind": "stage"}]


def test_nobody_need_listen(monkeypatch):
    monkeypatch.delenv(progress.FD_VARIABLE, raising=False)
    progress.emit({"kind": "stage"})
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(progress.FD_VARIABLE, str(writing))
    progress.emit({"kind": "stage"})
    os.close(writing)


def test_job_goes_to_the_process_that_was_warmed_up(tmp_path):
    (tmp_path / "job").mkdir()
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "warmup_epochs": 0.0}
    job = make_job(tmp_path / "job", **settings)
    child.warm_up(job.config)
    warm = child._warm.child
    with pytest.raises(TrainingError, match="The loss became"):
        run_job(job, tmp_path / "job" / "run")
    assert warm.wait() == 1, "the job's own exit code"
    assert child._warm is None


def test_warm_process_that_does_not_fit_or_is_not_needed_ends(tmp_path):
    (tmp_path / "job").mkdir()
    job = make_job(tmp_path / "job", optimizer="sgd", learning_rate=1e30, warmup_epochs=0.0)
    child.warm_up(TrainConfig(framework="pytorch", model="small_cnn", threads=2))
    warm = child._warm.child
    with pytest.raises(TrainingError, match="The loss became"):
        run_job(job, tmp_path / "job" / "run")
    assert warm.wait(60) == 0
