"""What a question on SQLite does not load: most of its time would go there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from helpers import python
from lineage_store import Builder

import lineage

pytestmark = pytest.mark.quick

HEAVY = {"ml_metadata", "google.protobuf", "tfx", "tensorflow", "apache_beam", "numpy", "rich"}
CODE = """
import sys
from pipeline.cli.main import app
try:
    app({words!r}, standalone_mode=False)
except SystemExit as end:
    assert not end.code, end
print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    examples = {"ImageExampleGen.examples": {"span": 3}}
    first = builder.run("run-a", version=1, artifact_properties=examples)
    data_steps = (
        "ImageExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "ExampleValidator",
        "Transform",
        "ArrayGen",
    )
    builder.run("run-b", version=2, reused=dict.fromkeys(data_steps, first))
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["model", "digits-keras@1"],
        ["runs"],
        ["run", "run-a"],
        ["affected", "--span", "3"],
        ["diff", "run-a", "run-b"],
        ["history", "digits-keras"],
        ["served", "--all"],
        ["explain-cache", "run-b", "Trainer"],
    ],
    ids=lambda words: words[0],
)
def test_questions(store: Path, words: list[str]) -> None:
    assert _loaded(["lineage", *words, "--metadata", str(store)], HEAVY) == []


@pytest.mark.parametrize("words", [["--help"], ["lineage", "--help"]], ids=" ".join)
def test_help(words: list[str]) -> None:
    assert _loaded(words, HEAVY | {"pydantic", "sqlite3", "tomllib"}) == []


def test_it_is_seen_what_is_loaded(store: Path) -> None:
    words = ["lineage", "runs", "--metadata", str(store)]
    assert _loaded(words, {"sqlite3", "rich"}, FORCE_COLOR="1") == ["rich", "sqlite3"]


def _loaded(words: list[str], modules: set[str], **env: str) -> list[str]:
    done = python("-c", CODE.format(words=words, heavy=modules), **env)
    assert done.returncode == 0 and done.stdout, done.stderr
    found = done.stderr.splitlines()[-1]
    return [name.strip("' ") for name in found.strip("[]").split(",") if name]


def test_the_front_door_shows_the_questions_and_loads_none_before_it_is_asked() -> None:
    names = {name for names in lineage._DOOR.values() for name in names}
    assert all(getattr(lineage, name).__name__ == name for name in names)
    tree = ast.parse(Path(lineage.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert {a.name for n in block.body for a in n.names} == names  # type: ignore[attr-defined]
    done = python("-c", "import lineage, sys; print([m for m in sys.modules if 'lineage.' in m])")
    assert done.stdout == "[]\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lineage.nothing  # noqa: B018
