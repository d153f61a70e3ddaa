"""The command line as people and scripts meet it: help, errors, exit codes.

Write the golden file anew with
COLUMNS=80 NO_COLOR=1 TERM=dumb python -m pipeline.cli.main --help > tests/golden/help.txt
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers import ROOT, python
from PIL import Image

from common.errors import Exit
from modelstore.artifact import PushManifest
from modelstore.versions import publish
from pipeline.cli.main import app
from trainers.frameworks import get_framework

RUN = ["run", "--data", "photos", "--framework", "pytorch", "--model", "small_cnn"]
RUN += ["--min-accuracy", "0.5"]


def visionline(*arguments: str, cwd: Path = ROOT, **env: str):
    """As the installed command runs: without the current folder in front of the path."""
    return python("-P", "-m", "pipeline.cli.main", *arguments, cwd=cwd, **env)


def push(serving: Path, name: str) -> PushManifest:
    source = serving.parent / f"{name}-source"
    source.mkdir()
    (source / "model.onnx").write_text(name)

    def manifest(version: int) -> PushManifest:
        words = {"framework": "keras", "architecture": "small_cnn", "run_id": "run-7"}
        pushed_at = "2026-01-02T03:04:05+00:00"
        return PushManifest(
            name=name, version=version, pushed_at=pushed_at, model_uri="", mlmd={}, **words
        )

    return publish(source, serving / name, manifest)


def test_help_is_as_recorded():
    done = python("-m", "pipeline.cli.main", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "tests" / "golden" / "help.txt").read_text()


def test_every_command_explains_itself():
    listed = visionline("--help").stdout.partition("Commands:")[2]
    assert "..." not in listed, "a line of help is longer than a line"
    commands = re.findall(r"^  (\S+)", listed, re.MULTILINE)
    assert {"run", "models", "versions", "predict", "schema", "demo"} <= set(commands)
    code = "import pipeline.cli.main as c; [c.app([n, '-h'], standalone_mode=False) for n in {}]"
    done = python("-c", code.format(commands))
    assert done.stdout.count("Usage:") == len(commands)


def all_commands(group: Any, ctx: Any) -> Iterator[Any]:
    for name in group.commands:
        command = group.resolve_command(ctx, [name])[1]
        yield from all_commands(command, ctx) if hasattr(command, "commands") else [command]


def test_every_option_explains_itself_in_a_sentence():
    group = typer.main.get_command(app)
    with group.make_context("visionline", ["run"]) as ctx:
        commands = list(all_commands(group, ctx))
    assert len(commands) > 30
    for command in commands:
        for param in command.params:
            text = (param.help or "").partition("  [default")[0]
            where = f"{command.name}, {param.name}: {text!r}"
            assert re.fullmatch(r"[A-Zg]\w* .+\.", text, re.DOTALL), where


def test_the_release_is_told():
    done = visionline("--version")
    assert (done.returncode, done.stdout) == (0, f"visionline {version('visionline')}\n")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("visionline mod", ["models"]),
        ("visionline lineage ru", ["runs", "run"]),
        ("visionline kubeflow run --ep", ["--epochs"]),
        ("visionline run --runner lo", ["local"]),
        ("visionline compile x", []),
    ],
)
def test_the_shell_completes(words, completed):
    shell = {"_VISIONLINE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = visionline(**shell, COMP_CWORD=str(words.count(" ")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == completed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no.toml"], "Cannot read the config no.toml: No such file or directory."),
        ([*RUN, "--image-size", "1x2x3"], "--image-size: expected 224 or 224x320"),
        ([*RUN, "--image-size", "big"], "--image-size: expected 224 or 224x320"),
        ([*RUN, "--set", "epochs"], "--set: expected KEY=VALUE, got 'epochs'."),
        ([*RUN, "--set", "train.epocs=3"], "Unknown config key train.epocs. Did you mean 'epochs'"),
        ([*RUN, "--set", "train.epochs=many"], "train.epochs: expected int, got 'many'."),
        ([*RUN, "--epochs", "0"], "train.epochs: expected 1 or more, got 0."),
        ([*RUN, "--model", "resnet1888"], "Did you mean 'resnet1"),
        ([*RUN, "--model", "no_module:f"], "no module 'no_module' to take 'no_module:f' from."),
        (["models", "--framework", "kers"], "Unknown framework 'kers'. Did you mean 'keras'?"),
        (["compile", "x.toml"], "`visionline compile` is now `visionline kubeflow compile`."),
        (["submit", "--help"], "`visionline submit` is now `visionline kubeflow submit`."),
        ([*RUN, "--runner", "kubeflow-local"], "is now `visionline kubeflow run PACKAGE`."),
        (["versions"], "Which serving folder? Found none. Name one with --serving FOLDER."),
        (["predict", "a.png"], "Which serving folder? Found none."),
        (["schema"], "Which output folder? Found none. Name one with --output FOLDER."),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = visionline(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("visionline: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["run", "--nope"], ["run", "--epochs", "abc"], ["nope"], ["predict"]]
)
def test_what_the_parser_refuses_is_exit_code_2(arguments):
    done = visionline(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: visionline" in done.stderr and "Traceback" not in done.stderr


def test_a_run_without_threshold_is_refused_and_says_why(tmp_path):
    done = visionline(*RUN[:-2], cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing is pushed unjudged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_toml(tmp_path):
    (tmp_path / "run.toml").write_text("[train\n")
    done = visionline("run", "run.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "run.toml is not valid TOML" in done.stderr


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder to run in, with `photos/` of two classes."""
    for name in ("cat", "dog"):
        path = tmp_path / "photos" / name / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(path)
    return tmp_path


def test_missing_images_are_refused_before_anything_is_made(tmp_path):
    done = visionline(*RUN, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "visionline: photos: no such file or folder; check data.path.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_run_into_a_stranger_s_folder_is_exit_code_1(photos):
    out = photos / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("all I have")
    done = visionline(*RUN, "--output", str(out), cwd=photos)
    assert done.returncode == 1
    assert "it holds thesis.txt" in done.stderr
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_own_models_are_found_in_the_current_folder(photos):
    tmp_path = photos
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "out").write_text("not a folder")
    done = visionline(*RUN, "--model", "mine:net", "--output", "out", cwd=tmp_path)
    assert "Cannot write to the output folder" in done.stderr  # so the model was accepted
    assert done.returncode == 1


def test_versions_lists_what_was_pushed_and_what_is_damaged(tmp_path):
    serving = tmp_path / "visionline-runs" / "cats" / "serving"
    serving.mkdir(parents=True)
    push(serving, "cats")
    push(serving, "dogs")
    (serving / "dogs" / "1" / "model.onnx").write_text("changed")
    table = visionline("versions", cwd=tmp_path)
    assert (table.returncode, table.stderr) == (0, "")
    header, cats, dogs = (line.split("\t") for line in table.stdout.splitlines())
    assert header == ["name", "version", "framework", "model", "pushed at", "files"]
    assert cats == ["cats", "1", "keras", "small_cnn", "2026-01-02T03:04:05+00:00", "whole"]
    assert dogs[-1] == "model.onnx: changed"
    listed = visionline("versions", "cats", "--json", cwd=tmp_path)
    assert json.loads(listed.stdout) == [
        {
            **{"name": "cats", "version": 1, "framework": "keras", "architecture": "small_cnn"},
            **{"pushed_at": cats[4], "run_id": "run-7", "damage": [], "writable": ""},
            "where": str(serving / "cats" / "1"),
        }
    ]


def test_a_name_or_folder_without_versions(tmp_path):
    serving = tmp_path / "serving"
    assert visionline("versions", "--serving", str(serving)).returncode == Exit.NOTHING_FOUND
    serving.mkdir()
    push(serving, "cats")
    missing = visionline("versions", "cat", "--serving", str(serving))
    assert missing.returncode == 1
    assert f"No pushed model 'cat' in {serving}. Did you mean 'cats'?" in missing.stderr
    predicted = visionline("predict", "a.png", "--serving", str(tmp_path / "no"))
    assert predicted.returncode == 1
    assert "No pushed model in" in predicted.stderr


def test_two_output_folders_are_both_named(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "visionline-runs" / name / "serving").mkdir(parents=True)
    done = visionline("versions", cwd=tmp_path)
    assert "Found visionline-runs/cats/serving, visionline-runs/dogs/serving." in done.stderr


@pytest.mark.parametrize("framework", ["pytorch", pytest.param("keras", marks=pytest.mark.slow)])
def test_models_as_json(tmp_path, framework):
    (tmp_path / "trainers").mkdir()  # A folder of the same name must not hide ours.
    (tmp_path / "trainers" / "__init__.py").write_text("raise ImportError('not this one')\n")
    cache = tmp_path / "cache"
    arguments = ("models", "net", "--framework", framework, "--json")
    done = visionline(*arguments, cwd=tmp_path, XDG_CACHE_HOME=str(cache))
    assert done.returncode == 0
    found = json.loads(done.stdout)
    names = get_framework(framework).model_names()
    assert [m["model"] for m in found] == [name for name in names if "net" in name.lower()]
    assert {m["framework"] for m in found} == {framework}
    counts = {m["model"]: m["parameters"] for m in found}
    assert counts["resnet20"] == 272_474  # 270k and the shortcuts' 1×1 kernels
    again = visionline(*arguments, cwd=tmp_path, XDG_CACHE_HOME=str(cache))
    assert again.stdout == done.stdout
    assert len(list(cache.rglob("parameters-*.json"))) == 1


def test_no_model_of_that_name_is_nothing_found(tmp_path):
    cache = tmp_path / "visionline"
    arguments = ("models", "zzzzz", "--framework", "pytorch")
    done = visionline(*arguments, XDG_CACHE_HOME=str(cache))
    assert done.returncode == Exit.NOTHING_FOUND
