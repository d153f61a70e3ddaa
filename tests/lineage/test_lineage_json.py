"""What `visionline lineage … --json` prints is what docs/lineage.schema.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.exceptions import Exit
from helpers import ROOT
from jsonschema import Draft202012Validator
from lineage_store import Builder

from components.example_gen.image_index import IMAGES_FILE, IndexedImage, to_lines
from lineage.answers import ANSWERS
from pipeline.cli.main import app

pytestmark = pytest.mark.quick

SCHEMA = json.loads((ROOT / "docs" / "lineage.schema.json").read_text())
QUESTIONS = {
    "affected": ["affected", "digits-keras@1", "--output"],
    "affected-images": ["affected", "--sha256", "7" * 64, "--output"],
    "erase": ["erase", "--sha256", "7" * 64, "--yes", "--output"],
    "erase-plan": ["erase", "--sha256", "7" * 64, "--dry-run", "--output"],
    "diff": ["diff", "digits-keras@1", "digits-keras@2", "--output"],
    "explain-cache": ["explain-cache", "run-b", "Trainer", "--output"],
    "gc-plan": ["gc", "--dry-run", "--output"],
    "gc": ["gc", "--yes", "--output"],
    "history": ["history", "digits-keras", "--output"],
    "import": ["import", "export.json", "--metadata"],
    "model": ["model", "digits-keras", "--output"],
    "pins": ["pins", "--output"],
    "rollback-candidates": ["rollback-candidates", "digits-keras", "--output"],
    "run": ["run", "run-b", "--output"],
    "runs": ["runs", "--output"],
    "served": ["served", "--all", "--output"],
    "verify": ["verify", "--output"],
    "why-not-blessed": ["why-not-blessed", "run-c", "--output"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a pushed, a better pushed, an unblessed and a pinned model."""
    root = tmp_path_factory.mktemp("json")
    (root / "visionline.json").write_text('{"pipeline": "digits"}')
    builder = Builder(root / "metadata.sqlite", files=True)
    first = builder.run("run-a", version=1)
    report = root / "artifacts" / "ImageExampleGen" / "report" / "1" / IMAGES_FILE
    report.write_bytes(to_lines([IndexedImage("7" * 64, "train", "cat", b"x.png")]))
    second = builder.run("run-b", version=2, reused={"ImageExampleGen": first})
    failed = [{"metric": "accuracy", "slice": None, "threshold": 0.9, "actual": 0.8}]
    builder.run("run-c", version=None, properties={"Evaluator": {"why_not_blessed": str(failed)}})
    builder.run("run-d", fails="Trainer", properties={"Trainer": {"error": "it [b]broke[/b]"}})
    assert ask("pin", str(second.artifacts["Trainer.model"]), "--output", str(root)) == 0
    return root


def ask(*arguments: str) -> int:
    """Runs `visionline lineage …` in this process; returns its exit code."""
    try:
        group = [] if arguments[0] == "erase" else ["lineage"]
        return app([*group, *arguments], standalone_mode=False) or 0
    except Exit as e:
        return e.exit_code


def test_every_answer_is_asked_for() -> None:
    assert QUESTIONS.keys() == ANSWERS.keys()


@pytest.mark.parametrize("kind", QUESTIONS)
def test_answers_are_as_documented(
    kind: str,
    workspace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    where = str(workspace)
    if kind == "import":
        ask("export", "--format", "json", "--to", "export.json", "--output", where)
        where = str(tmp_path / "new.sqlite")
    capsys.readouterr()
    ask(*QUESTIONS[kind], where, "--json")
    text = capsys.readouterr().out
    found = json.loads(text)
    # The first had accuracies in place of metrics, and arrays apart from what is removed.
    number = 2 if '"headline"' in text or kind.startswith("erase") else 1
    assert found["format"] == f"visionline.lineage.{kind}/{number}"
    Draft202012Validator(SCHEMA).validate(found)
