"""Mermaid, Graphviz, HTML and OpenLineage; and the command line of export and import."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
import xml.etree.ElementTree as ET
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from drawn import drawings
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from lineage_store import Builder
from typer.testing import CliRunner

from common.errors import ConfigError, DataError, Exit
from lineage.drawing import markup
from lineage.drawing.depict import depict
from lineage.drawing.drawing import Drawing, Edge, Node
from lineage.exchange.openlineage import events
from lineage.graph.refs import find_model
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from pipeline.cli.main import app
from pipeline.ui.rendering import model_file

pytestmark = pytest.mark.quick

DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)
EVIL = '<script>alert("1")</script>&\\N"];\n%% end'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    facts = {
        "git_commit": "1" * 40,
        "directory": "/home/x/pro ject",
        "packages": {"tfx": "1.21.0", "evil": EVIL},
        "user": EVIL,
    }
    source = {"resolved_path": "/data/birds", "input_fingerprint": "f" * 64, "node_id": EVIL}
    first = builder.run(
        "run-a",
        run_properties=facts,
        properties={"ImageExampleGen": source},
        artifact_properties={"ImageExampleGen.examples": {"image_count": 1747, "class_count": 10}},
    )
    builder.run(
        "run-b",
        version=2,
        reused=dict.fromkeys(DATA_STEPS, first),
        baseline=first.artifacts["Trainer.model"],
    )
    builder.run("run-c", fails="Trainer", properties={"Trainer": {"error": EVIL}})
    return path


def reader_of(store: Path) -> Any:
    return open_reader(Connection.parse(str(store)))


def drawn(store: Path, ref: str) -> Drawing:
    reader = reader_of(store)
    return depict(reader, find_model(reader, ref))


LABEL = r'"(?:[^"\\]|\\.)*"'
DOT_LINES = (
    r"digraph lineage \{",
    r"  (graph|node|edge) \[.*\];",
    rf"  n\d+ \[label={LABEL}, color={LABEL}, style={LABEL}\];",
    rf"  n\d+ -> n\d+ \[label={LABEL}(, style=dashed)?\];",
    r"\}",
)
MERMAID_TEXT = r'"[^"\[\]{}()<>`]*(<br/>[^"\[\]{}()<>`]*)*"'
MERMAID_LINES = (
    r"%% .*",
    r"flowchart TD",
    rf"    n\d+(\[{MERMAID_TEXT}\]|\({MERMAID_TEXT}\)|\(\[{MERMAID_TEXT}\]\)):::\w+",
    rf"    n\d+ (-->|-\.->)(\|{MERMAID_TEXT}\|)? n\d+",
    r"    (classDef|style) .*",
)


def checked(text: str, patterns: tuple[str, ...]) -> list[str]:
    """The lines of a source, each of one of these forms."""
    found = text.removesuffix("\n").split("\n")
    for line in found:
        assert any(re.fullmatch(p, line) for p in patterns), line
    return found


@given(drawings())
@settings(deadline=None)
def test_whatever_things_are_called_mermaid_and_dot_hold_every_node_and_edge(
    drawing: Drawing,
) -> None:
    dot = checked(markup.dot(drawing), DOT_LINES)
    assert sum(" -> " in line.split("[")[0] for line in dot) == len(drawing.edges)
    assert sum(bool(re.match(r"  n\d+ \[", line)) for line in dot) == len(drawing.nodes)
    mermaid = checked(markup.mermaid(drawing), MERMAID_LINES)
    assert sum(bool(re.match(r"    n\d+ -", line)) for line in mermaid) == len(drawing.edges)
    assert sum(":::" in line for line in mermaid if line.startswith("    n")) == len(drawing.nodes)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("name", [EVIL, "", "\\", 'a\\"', "&amp;<b>", "日本", "\\L\\n"])
def test_graphviz_shows_names_as_they_are(name: str) -> None:
    nodes = (Node(id="a", kind="artifact", title=name), Node(id="b", kind="version", title="b"))
    edges = (Edge(source="a", target="b", label=name),)
    drawing = Drawing(title=name, nodes=nodes, edges=edges)
    done = subprocess.run(
        ["dot", "-Tsvg"], input=markup.dot(drawing), capture_output=True, text=True, check=True
    )
    assert not done.stderr
    root = ET.fromstring(done.stdout)
    shown = {"".join(t.itertext()).replace("\xa0", " ") for t in root.findall(".//{*}text")}
    assert {"b", *filter(None, [" ".join(name.split())])} <= shown


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_the_page_is_one_file_with_the_facts_and_no_markup_of_names(store: Path) -> None:
    reader = reader_of(store)
    model = find_model(reader, "digits-keras@1")
    text = model_file(reader, model)
    parsed = Parsed(text)
    assert "script" not in parsed.tags and not parsed.addresses
    assert EVIL in "\n".join(parsed.words)
    assert {"1,747", "run-a", "not recorded", "digits-keras@1", "blessed"} <= set(parsed.words)
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" class="lineage"') == 1
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text


def emitted(store: Path, ref: str | None = None) -> list[Any]:
    return [json.loads(line) for line in events(reader_of(store), ref)]


# OpenLineage's core specification 2-0-2, as far as these events use it.
TEXT = {"type": "string", "minLength": 1}
FACETS = {
    "type": "object",
    "additionalProperties": {"type": "object", "required": ["_producer", "_schemaURL"]},
}
JOB = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {"namespace": TEXT, "name": TEXT, "facets": FACETS},
}
RUN = {"type": "object", "required": ["runId"], "properties": {"runId": TEXT, "facets": FACETS}}
DATASETS = {
    "type": "array",
    "items": {
        **JOB,
        "properties": {**JOB["properties"], "inputFacets": FACETS, "outputFacets": FACETS},
    },
}
RUN_EVENT = {
    "type": "object",
    "required": ["eventType", "eventTime", "run", "job", "producer", "schemaURL"],
    "additionalProperties": False,
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "run": RUN,
        "job": JOB,
        "inputs": DATASETS,
        "outputs": DATASETS,
        "producer": TEXT,
        "schemaURL": TEXT,
    },
}


def test_events_have_the_form_of_the_specification(store: Path) -> None:
    validator = Draft202012Validator(RUN_EVENT)
    for event in emitted(store):
        validator.validate(event)
        assert str(uuid.UUID(event["run"]["runId"])) == event["run"]["runId"]
        datetime.fromisoformat(event["eventTime"])


def test_events_can_be_read_by_the_classes_made_from_the_published_schema(store: Path) -> None:
    """Its own client's: each facet is built by the class that its _schemaURL names."""
    base = pytest.importorskip(
        "openlineage.client.generated.base", reason="openlineage-python is not installed"
    )
    import importlib
    import pkgutil

    from openlineage.client import generated

    classes: dict[str, Any] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        found = vars(importlib.import_module(f"{generated.__name__}.{module.name}"))
        for value in found.values():
            if isinstance(value, type) and hasattr(value, "_get_schema"):
                classes[value._get_schema()] = value

    def facets(values: dict[str, Any]) -> dict[str, Any]:
        built = {}
        for name, facet in values.items():
            class_ = classes[facet["_schemaURL"]]
            own = {k: v for k, v in facet.items() if not k.startswith("_")}
            if name.startswith("visionline_"):
                built[name] = class_().with_additional_properties(**own)
            else:
                built[name] = class_(**own)
        return built

    def dataset(class_: Any, value: dict[str, Any], own: str) -> Any:
        more = {"facets": facets(value["facets"]), own: facets(value[own])}
        return class_(namespace=value["namespace"], name=value["name"], **more)

    seen = set()
    for event in emitted(store):
        run, job = event["run"], event["job"]
        built = base.RunEvent(
            eventType=base.EventType(event["eventType"]),
            eventTime=event["eventTime"],
            producer=event["producer"],
            run=base.Run(runId=run["runId"], facets=facets(run["facets"])),
            job=base.Job(job["namespace"], job["name"], facets=facets(job["facets"])),
            inputs=[dataset(base.InputDataset, d, "inputFacets") for d in event["inputs"]],
            outputs=[dataset(base.OutputDataset, d, "outputFacets") for d in event["outputs"]],
        )
        assert built.schemaURL == event["schemaURL"]
        seen |= {*run["facets"], *job["facets"]}
    assert seen >= {"parent", "processing_engine", "errorMessage", "jobType", "sourceCodeLocation"}


def test_each_execution_that_worked_starts_and_ends_once(store: Path) -> None:
    found = emitted(store)
    by_run: dict[str, list[str]] = {}
    for event in found:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    ends = sorted(kinds[1] for kinds in by_run.values())
    assert all(len(kinds) == 2 and kinds[0] == "START" for kinds in by_run.values())
    # Three runs; run-a has nine executions, run-b three that were not cached, run-c seven.
    assert ends == ["COMPLETE"] * (2 + 9 + 3 + 6) + ["FAIL"] * 2
    assert found == emitted(store)


def test_parents_and_failures_are_named(store: Path) -> None:
    found = emitted(store)
    runs = {e["run"]["runId"] for e in found if e["job"]["name"] == "digits"}
    tasks = [e for e in found if e["job"]["name"] != "digits"]
    assert {e["run"]["facets"]["parent"]["run"]["runId"] for e in tasks} == runs
    (failed,) = (e for e in tasks if e["eventType"] == "FAIL")
    assert failed["job"]["name"] == "digits.Trainer"
    assert failed["run"]["facets"]["errorMessage"]["message"] == EVIL


def test_datasets_join_the_executions_over_runs_and_the_baseline_is_no_input(store: Path) -> None:
    ends = {
        (e["job"]["name"], e["run"]["facets"]["parent"]["run"]["runId"]): e
        for e in emitted(store)
        if e["eventType"] == "COMPLETE" and "parent" in e["run"]["facets"]
    }

    def names(event: Any, side: str) -> dict[str, str]:
        return {d["name"]: d["facets"]["version"]["datasetVersion"] for d in event[side]}

    trainers = [e for (job, _), e in ends.items() if job == "digits.Trainer"]
    arrays = [name for e in trainers for name in names(e, "inputs") if "/arrays" in name]
    assert len(trainers) == len(arrays) == 2 and len(set(arrays)) == 1
    (read,) = (e["inputs"] for (job, _), e in ends.items() if EVIL in job)
    assert [(d["namespace"], d["name"]) for d in read] == [("file", "/data/birds")]
    second = [e for (job, _), e in ends.items() if job == "digits.Evaluator"][1]
    assert len([n for n in names(second, "inputs") if n.endswith("/Trainer/model")]) == 1
    compared = second["run"]["facets"]["visionline_execution"]["comparedWith"]
    assert [c["version"] for c in compared] == ["1"]
    served = [e for (job, _), e in ends.items() if job == "digits.Pusher"]
    assert [list(names(e, "outputs").values()) for e in served] == [["1"], ["2"]]
    assert len({n for e in served for n in names(e, "outputs")}) == 1


def test_events_of_one_model_are_of_what_made_it(store: Path) -> None:
    jobs = {e["job"]["name"] for e in emitted(store, "digits-keras@2")}
    assert {"digits", "digits.Trainer", f"digits.{EVIL}", "digits.Pusher"} <= jobs
    kinds = {e["eventType"] for e in emitted(store, "digits-keras@2")}
    assert kinds == {"START", "COMPLETE"}


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["lineage", *map(str, arguments)])


@pytest.mark.parametrize("format_", ["json", "mermaid", "dot", "openlineage", "html"])
def test_a_file_gets_what_stdout_would(store: Path, tmp_path: Path, format_: str) -> None:
    asked = ("export", "digits-keras@2", "--format", format_, "--metadata", store)
    to = tmp_path / "out"
    to.write_text("older")
    assert run(*asked, "--to", to).exit_code == 0
    shown = run(*asked)
    assert shown.exit_code == 0
    time = re.compile(rb'"exported":"[^"]*"')
    assert time.sub(b"", shown.stdout_bytes) == time.sub(b"", to.read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_import_says_what_it_did(store: Path, tmp_path: Path) -> None:
    file, target = tmp_path / "all.json", tmp_path / "new" / "metadata.sqlite"
    assert run("export", "--metadata", store, "--to", file).exit_code == 0
    done = run("import", file, "--metadata", target, "--json")
    answer = json.loads(done.stdout)
    assert answer["format"] == "visionline.lineage.import/1"
    assert answer["created"] and answer["executions"] == {"added": 25, "shared": 0, "updated": 0}
    again = run("import", file, "--metadata", target)
    assert "executions\t0\t0\t25" in again.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "error", "code", "says"),
    [
        (("--format", "yaml"), ConfigError, 2, "'yaml' is not one"),
        (("--format", "html"), ConfigError, 2, "name it"),
        (("digits-keras@7", "--format", "dot"), None, Exit.NOTHING_FOUND, "no version '7'"),
        (("--to", "/nowhere/x.json"), DataError, 1, "Cannot write /nowhere/x.json"),
    ],
)
def test_what_cannot_be_exported(
    store: Path, arguments: tuple[str, ...], error: Any, code: int, says: str
) -> None:
    done = run("export", *arguments, "--metadata", store)
    assert says in str(done.exception)
    assert done.exception.exit_code == code
    assert error is None or isinstance(done.exception, error)


def test_a_foreign_store_can_be_drawn_and_exported(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    builder.run("theirs", record_run=False)
    for format_ in ("json", "mermaid", "dot", "openlineage", "html"):
        asked = ("--format", format_, "--metadata", tmp_path / "metadata.sqlite")
        done = run("export", "theirs", *asked)
        assert done.exit_code == 0, done.exception
        assert "Trainer" in done.stdout
