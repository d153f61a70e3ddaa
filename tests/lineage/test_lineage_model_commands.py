"""`lineage model`, `served`, `history`, `why-not-blessed`, `rollback-candidates` as typed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, Demo, command, environment
from lineage_store import Builder, BuiltRun
from PIL import Image

pytestmark = pytest.mark.quick

NAME = "[red]<b>"
"""Markup of rich and of HTML: to be printed as it is."""
DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two versions in the store, the second with reused data; a third not blessed."""
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)

    def run(run_id: str, version: int | None, reused: BuiltRun | None, why: str = "") -> BuiltRun:
        evaluator = {"accuracy": 0.9 + (version or 0) / 100}
        return builder.run(
            run_id,
            name=NAME,
            version=version,
            reused=dict.fromkeys(DATA_STEPS, reused) if reused else {},
            properties={
                "Trainer": {"hyper_parameters": {"note": "[bold]<i>", "augment": {"zoom": 0.5}}},
                "Evaluator": evaluator | ({"why_not_blessed": why} if why else {}),
            },
            run_properties={"user": "[link]ann", "packages": json.dumps({"numpy": "2.4"})},
        )

    first = run("first", 1, None)
    run("second", 2, first)
    run("third", None, first, "[red]too low[/red]")
    (path.parent / "serving" / NAME / "1").mkdir(parents=True)
    return str(path)


def on_a_terminal(columns: int, *words: str) -> str:
    """What a terminal shows, without its colours."""
    env = environment() | {"FORCE_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm"}
    done = subprocess.run(command(*words), env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def test_model_for_a_pipe_is_tab_separated(store: str, cli: Cli) -> None:
    done = cli("lineage", "model", f"{NAME}@2", "--metadata", store)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    known = {(line[0], line[1]): line[2] for line in lines if len(line) == 3}
    assert known["pushed to", "name"] == f"{NAME}@2"
    assert known["pushed to", "in serving"] == "no, removed"
    assert known["run", "who"] == "[link]ann"
    assert known["run", "commit"] == "not recorded"
    assert known["training", "settings"] == "augment.zoom 0.5, note [bold]<i>"
    made = {line[0]: line[4] for line in lines if len(line) == 5}
    assert made["Transform"] == "reused" and made["Trainer"] == ""


def test_a_model_that_was_pushed_elsewhere(cli: Cli, tmp_path: Path) -> None:
    place = {"Pusher.pushed_model": {"pushed_destination": "/mnt/none/serving/digits/1"}}
    store = tmp_path / "metadata.sqlite"
    Builder(store).run("first", name="digits", version=1, artifact_properties=place)
    told = cli("lineage", "model", "digits@1", "--metadata", store).stdout
    assert "in serving\tnot known: /mnt/none/serving is not on this machine\n" in told
    asked = cli("lineage", "model", "digits@1", "--metadata", store, "--json")
    assert json.loads(asked.stdout)["pushes"][0]["serving"] is None
    listed = cli("lineage", "served", "--metadata", store)
    assert listed.returncode == 0 and "digits\t1\tnot known\t" in listed.stdout


@pytest.mark.parametrize("columns", [100, 60])
def test_model_on_a_terminal_fits_and_prints_markup_as_it_is(store: str, columns: int) -> None:
    shown = on_a_terminal(
        columns, "lineage", "model", f"{NAME}@2", "--packages", "--config", "--metadata", store
    )
    assert max(map(len, shown.splitlines())) <= columns
    for text in (f"{NAME}@2", "[link]ann", "[bold]<i>", "numpy", "reused"):
        assert text in shown
    titles = [line for line in shown.splitlines() if line and line[0] != " "]
    assert {"model", "data", "schema", "transform", "training", "run", "judged by"} <= {
        title.strip() for title in titles
    }


@pytest.mark.parametrize("columns", [100, 60])
@pytest.mark.parametrize("question", ["served", "history", "rollback-candidates"])
def test_listings_fit_on_a_terminal(store: str, question: str, columns: int) -> None:
    shown = on_a_terminal(columns, "lineage", question, NAME, "--metadata", store)
    assert max(map(len, shown.splitlines())) <= columns
    assert "0.91" in shown


def test_served_shows_the_list_and_what_made_the_latest(store: str, cli: Cli) -> None:
    everything = cli("lineage", "served", "--all", "--metadata", store).stdout.splitlines()
    assert [line.split("\t")[:3] for line in everything[1:]] == [
        [NAME, "2", "removed"],
        [NAME, "1", "latest"],
    ]
    one = cli("lineage", "served", NAME, "--metadata", store).stdout
    assert f"{NAME}\t1\tlatest" in one and "run\trun\tfirst" in one
    answer = json.loads(cli("lineage", "served", "--json", "--metadata", store).stdout)
    assert answer["format"] == "visionline.lineage.served/2"
    assert [v["version"] for v in answer["versions"]] == [1]


def test_history_as_table_picture_and_json(
    store: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # ingestion sets it for the process
    picture = tmp_path / "history.png"
    done = cli("lineage", "history", NAME, "--picture", picture, "--metadata", store)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[4:6] for row in rows[1:]] == [["0.9100", "-"], ["0.9200", "+0.0100"]]
    assert Image.open(picture).size == (1080, 720)
    shorter = cli("lineage", "history", NAME, "--limit", "1", "--metadata", store)
    assert "1 older ones are not shown" in shorter.stderr
    answer = json.loads(cli("lineage", "history", NAME, "--json", "--metadata", store).stdout)
    assert answer["pushed"] == 2 and len(answer["versions"]) == 2
    nowhere = tmp_path / "no" / "folder.png"
    done = cli("lineage", "history", NAME, "--picture", nowhere, "--metadata", store)
    assert done.returncode == 1 and "Cannot write the picture" in done.stderr


def test_why_not_blessed(store: str, cli: Cli) -> None:
    done = cli("lineage", "why-not-blessed", "third", "--metadata", store)
    assert done.returncode == 0
    assert "reasons\twhy\t[red]too low[/red]" in done.stdout
    done = cli("lineage", "why-not-blessed", "first", "--metadata", store)
    assert done.returncode == 4 and "it was blessed" in done.stdout


def test_rollback_says_why_a_version_is_no_candidate(store: str, cli: Cli) -> None:
    done = cli("lineage", "rollback-candidates", NAME, "--metadata", store)
    assert done.returncode == 4
    assert "others\t2\tremoved from the serving folder" in done.stdout
    assert f"No version of {NAME} can be rolled back to." in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("model", "no-such"),
        ("model", "x" * 300),
        ("served", "no-such"),
        ("history", "no-such"),
        ("why-not-blessed", "999"),
        ("rollback-candidates", "no-such"),
    ],
    ids=lambda words: f"{words[0]} {words[1][:8]}",
)
def test_what_is_not_there_exits_with_4(store: str, cli: Cli, words: tuple[str, str]) -> None:
    done = cli("lineage", *words, "--metadata", store)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("visionline: ") and "Traceback" not in done.stderr


def test_what_no_store_can_hold_is_refused(store: str) -> None:
    words = [*command("lineage", "model"), b"\xff\xfe", "--metadata", store]
    done = subprocess.run(words, env=environment(), capture_output=True)
    assert done.returncode == 2 and b"expected UTF-8 text" in done.stderr


def test_the_demo_answers_by_path_name_and_run(demo: Demo, cli: Cli, tmp_path: Path) -> None:
    run_id = demo.summary["runs"][0]["run_id"]
    place = demo.serving / "digits-keras" / "1"
    answers = [
        cli("lineage", "model", ref, "--output", demo.workspace).stdout
        for ref in (place, demo.serving / "digits-keras", "digits-keras@1", run_id)
    ]
    assert len(set(answers)) == 1 and f"pushed to\tplace\t{place}" in answers[0]
    assert cli("lineage", "model", place, cwd=tmp_path).stdout == answers[0]
    unknown = [line for line in answers[0].splitlines() if line.endswith("not recorded")]
    outside_a_repository = ("run\tcommit\t", "run\tvisionline\t")
    assert [line for line in unknown if not line.startswith(outside_a_repository)] == []
    served = cli("lineage", "served", "--output", demo.workspace).stdout
    assert "digits-keras\t1\tlatest\tkeras" in served and "digits-pytorch\t1\tlatest" in served
    history = cli("lineage", "history", "digits-keras", "--output", demo.workspace)
    assert " ms gRPC\t" in history.stdout
