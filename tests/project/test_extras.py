"""What is installed only where it was asked for, and what is said where it is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from helpers import ROOT, python

WITHOUT = """
import sys

absent = sys.argv[1].split(",")

class Without:
    "Finds all but the packages that are to be absent."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in absent
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, attribute):
        return getattr(self.finder, attribute)

sys.meta_path[:] = map(Without, sys.meta_path)
from pipeline.cli.main import main
sys.argv[:] = ["visionline", *sys.argv[2:]]
main()
"""
RUN = ("run", "--data", "images", "--min-accuracy", "0.9", "--output", "out", "--framework")


@pytest.mark.parametrize(
    ("absent", "arguments", "extra"),
    [
        ("torch,timm", (*RUN, "pytorch", "--model", "resnet18"), "pytorch"),
        ("tf2onnx", (*RUN, "keras", "--model", "small_cnn"), "keras"),
        ("timm", ("models", "--framework", "pytorch"), "pytorch"),
        ("kfp", ("kubeflow", "run", "pipeline.yaml"), "kubeflow"),
        ("pymysql", ("lineage", "runs", "--metadata", "mysql://me@localhost/store"), "mysql"),
        ("psycopg", ("lineage", "runs", "--metadata", "postgresql://me@db/store"), "postgresql"),
    ],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, absent: str, arguments: tuple[str, ...], extra: str
) -> None:
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "pipeline.yaml").write_text("root: {}\n")
    done = python("-c", WITHOUT, absent, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    said = " ".join(done.stderr.split())
    assert said.endswith(f'not installed. Run: pip install "visionline[{extra}]"'), done.stderr
    assert all(name in said for name in absent.split(","))
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_all_is_every_extra_but_those_for_development_and_gpl_code() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (everything,) = extras.pop("all")
    assert set(re.findall(r"\w+", everything)) == {"visionline", *extras} - {"dev", "heic"}
