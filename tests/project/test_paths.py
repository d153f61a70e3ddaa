"""Folders whose names are patterns, or something else, to a library below.

What works is shown by one run in folders with such names, beside neighbours that the
names match as patterns; what does not is refused before anything is made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from conftest import Demo, command, environment
from helpers import python
from serving_server import serve

from common.errors import ConfigError
from common.files import checksums
from common.paths import check_folder
from lineage.store.connection import Connection
from modelstore.predictor import SavedModelPredictor
from pipeline.config import load_config
from pipeline.kubeflow.config import KubeflowConfig, VolumeConfig
from pipeline.kubeflow.local.engines import Container
from serving.config import LogConfig, RequestLogConfig

pytestmark = pytest.mark.pipelines

FLAGS = ("--framework", "keras", "--model", "small_cnn", "--min-accuracy", "0.05")
NOT_UTF8 = os.fsdecode(b"\xff\xfe")
PATTERNS = ["c*d", "a?b", "[v1] run", "a[b", "**", "back\\slash", "x@*"]
REFUSED = [*PATTERNS, "new\nline", "\x01c", "\x7f", "\x85", "a\u2028b", NOT_UTF8]
ACCEPTED = ["plain", "{x,y}", "]v1", "a,b:c", "x@3", "d-00000-of-00001", "50%25", "h#h"]
ACCEPTED += [" lead", "trail ", "-dash", "žába", "a&b;c'd\"", "x~$HOME"]


def refused(message: str):
    return pytest.raises(ConfigError, match=re.escape(message))


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_would_be_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / name, tmp_path / name / "out"):
        with refused("run.output: ") as e:
            check_folder("run.output", path)
        assert repr(str(path)) in str(e.value)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_folder_that_is_only_odd_is_taken(tmp_path: Path, name: str) -> None:
    check_folder("run.output", tmp_path / name)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gs://bucket/runs", "expected a path on this machine"),
        ("file:///tmp/runs", "expected a path on this machine"),
        ("~/runs", "'~' is not expanded here"),
        ("$HOME/runs", "'$' is not expanded here"),
        ("/" + "x/" * 2000, "expected a path of at most 3500 bytes"),
    ],
)
def test_what_would_make_a_folder_of_another_name(given: str, words: str) -> None:
    with refused(words):
        check_folder("run.output", given)


@pytest.mark.parametrize("flag", ["--output", "--serving", "working folder"])
def test_a_run_is_refused_before_anything_is_made(tmp_path: Path, demo: Demo, flag: str) -> None:
    """Of the two that lost data: c*d beside cXd, with all that a run leaves."""
    work = tmp_path / "c*d"
    work.mkdir()
    neighbour = tmp_path / "cXd" / "out"
    shutil.copytree(demo.workspace / "artifacts" / "ImageExampleGen", neighbour / "artifacts")
    before = checksums(tmp_path)
    places = {"--output": str(tmp_path / "out"), "--serving": str(tmp_path / "serving")}
    cwd = tmp_path
    if flag in places:
        places[flag] = str(work / "out")
    else:
        del places["--output"]
        cwd = work
    given = [word for pair in places.items() for word in pair]
    done = python(
        "-m", "pipeline.cli.main", "run", "--data", str(demo.images), *FLAGS, *given, cwd=cwd
    )
    assert done.returncode == 2, done.stderr
    assert "take the '*' in" in done.stderr and "Traceback" not in done.stderr
    assert checksums(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c*d", "cXd"]
    assert not list(work.iterdir())


def test_the_demo_is_refused_before_it_writes_its_images(tmp_path: Path) -> None:
    done = python("-m", "pipeline.cli.main", "demo", "--output", "[v1]", cwd=tmp_path)
    assert done.returncode == 2 and "take the '['" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--output", "--data"])
def test_a_value_that_is_not_utf_8_is_refused_in_words(tmp_path: Path, flag: str) -> None:
    words = [*FLAGS, "--data", "photos", flag, f"{tmp_path}/{NOT_UTF8}"]
    done = python("-m", "pipeline.cli.main", "run", *words, cwd=tmp_path)
    assert done.returncode == 2 and "expected text in UTF-8" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_is_told_a_path_and_no_shell_s_words(tmp_path: Path) -> None:
    for text in ("~/store.sqlite", "$HOME/store.sqlite"):
        with refused("is not expanded here"):
            Connection.parse(text)
    with refused("metadata: expected a path in UTF-8"):
        Connection.parse(str(tmp_path / NOT_UTF8))


def test_the_server_s_own_files_are_named_in_full() -> None:
    with refused("folder: '~' is not expanded"):
        RequestLogConfig(folder="~/requests")
    with refused("file: expected a path on this machine"):
        LogConfig(file="s3://logs/serve.log")


@pytest.mark.parametrize("bad", ["/data/a*b", "/data/[v1]", "/data/a:b"])
def test_a_cluster_s_folders_are_no_patterns(bad: str) -> None:
    with refused("mount: "):
        VolumeConfig(claim="data", mount=bad)
    if ":" not in bad:
        with refused("pipeline_root: "):
            KubeflowConfig(pipeline_root=f"minio://bucket{bad}")


def test_a_container_s_folders_have_no_colon(tmp_path: Path) -> None:
    for store, folder in ((tmp_path / "a:b", "/ok"), (tmp_path, "/x/a:b")):
        with refused("takes the ':' in"):
            Container("sh", store, {"/data": folder})


def test_a_model_of_one_s_own_needs_a_folder_that_python_can_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path / "a:b")
    flags = {"train.framework": "keras", "train.model": "json:loads"}
    with refused("Python takes the ':' in"):
        load_config(None, {"data.path": "photos", "evaluate.min_accuracy": 0.5, **flags})


@pytest.mark.parametrize("name", ["[v1] run", "back\\slash", "a*b", "new\nline", NOT_UTF8])
def test_a_pushed_model_answers_wherever_it_lies(tmp_path: Path, demo: Demo, name: str) -> None:
    """A folder may be moved or mounted under any name after the push."""
    version = tmp_path / name / "1"
    shutil.copytree(demo.serving / "digits-keras" / "1", version)
    image = demo.kept[0]
    answer = SavedModelPredictor(version).predict(image.read_bytes())
    assert answer.labels[0] == image.name[0]


def test_pushed_models_are_served_wherever_they_lie(tmp_path: Path, demo: Demo) -> None:
    serving, image = tmp_path / "[v1] run" / "serving", demo.kept[0]
    shutil.copytree(demo.serving / "digits-keras" / "1", serving / "digits-keras" / "1")
    (tmp_path / "config.toml").write_text('default.engine = "tensorflow"\n')
    with serve(serving, tmp_path / "log.txt", "--config", str(tmp_path / "config.toml")) as running:
        at = f"{running.url}/predict?model=digits-keras"
        answer = httpx.post(at, content=image.read_bytes(), timeout=60).json()
    assert answer["classes"][0]["label"] == image.name[0]


# One run, in folders whose names mean something to somebody below.

AWKWARD = "{x,y} a:b@3 50%#ž -00000-of-00001"
DATA = "[v1] c*d?"


@pytest.fixture(scope="module")
def odd(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    root = tmp_path_factory.mktemp("odd")
    data, own = root / DATA / "digits", root / AWKWARD
    for folder in sorted(p for p in demo.images.iterdir() if p.is_dir()):
        (data / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir())[:20]:
            shutil.copyfile(image, data / folder.name / image.name)
    finished = demo.workspace / "artifacts"
    # What the names match, or hold once expanded, with all that a run leaves there.
    for name in ("x a:b@3 50%#ž -00000-of-00001", "v cXdY", "[v1] cXdY", "{x,y} a"):
        shutil.copytree(finished / "ImageExampleGen", root / name / "out" / "artifacts")
        shutil.copytree(data, root / name / "digits")
    own.mkdir()
    before = checksums(root)
    words = ["run", "--data", data, "--image-size", "16", "--epochs", "2", "--name", "odd"]
    words += ["--output", own / "out", "--serving", own / "serving", *FLAGS]
    (root / "[v1] cwd").mkdir()
    done = subprocess.run(
        command(*words), cwd=root / "[v1] cwd", env=environment(), capture_output=True, text=True
    )
    log = "".join(p.read_text() for p in own.glob("out/runs/*/log.txt"))
    return SimpleNamespace(root=root, own=own, before=before, done=done, log=log)


def test_a_run_in_odd_folders_ends_as_any_other(odd: SimpleNamespace) -> None:
    assert odd.done.returncode == 0, f"{odd.done.stdout}{odd.done.stderr}\n{odd.log[-3000:]}"
    assert (odd.own / "serving" / "odd" / "1").is_dir()


def test_a_run_touches_no_file_outside_its_own_folders(odd: SimpleNamespace) -> None:
    after = checksums(odd.root)
    assert {k: v for k, v in after.items() if not k.startswith(f"{AWKWARD}/")} == odd.before


def test_every_line_of_its_log_has_a_time(odd: SimpleNamespace) -> None:
    lines = odd.log.split("\n")
    assert lines.pop() == "" and len(lines) > 100
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
    assert [line for line in lines if not stamp.match(line)] == []
    # Python's own, and what C++ code writes past it.
    for words in ("INFO:absl:", "I0000"):
        assert words in odd.log, words
