"""Export and import as JSON: the same answers after it, merging, and files that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_store import Builder
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader
from servers import PASSWORD, Server

from common.errors import ExportError, StoreError
from common.record.kinds import RUN
from common.record.run import COMPLETE, Run
from lineage.exchange.closure import closure
from lineage.exchange.dump import dump_of
from lineage.exchange.load import load
from lineage.graph.refs import find_run
from lineage.questions.model import model_lineage
from lineage.questions.run_detail import run_detail
from lineage.questions.runs import list_runs
from lineage.store.connection import PASSWORD_VARIABLE, Connection
from pipeline.recording.recorder import Recorder

DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)


def reader_of(store: Path, via: Any = "sql"):
    return open_reader(Connection.parse(str(store)), via)


def export(store: Path, to: Path, ref: str | None = None) -> Path:
    reader = reader_of(store)
    part = None if ref is None else closure(reader, ref)
    to.write_bytes(b"".join(dump_of(reader, part, ref)))
    reader.close()
    return to


def load_into(file: Path, store: Path):
    return load(file, Connection.parse(str(store)))


def lines(file: Path) -> list[Any]:
    """What an export holds, without the time it was made."""
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    found[0].pop("exported")
    return found


def everything(store: Path, via: Any = "sql") -> list[Any]:
    """All that a store holds, as a reader sees it."""
    reader = reader_of(store, via)
    executions = reader.executions(reader.execution_states())
    return [
        list(reader.all_artifacts()),
        executions,
        sorted(reader.all_events()),
        reader.contexts_of(executions),
        reader.latest_contexts(RUN),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    first = builder.run("run-a", run_properties={"seed": 3, "error": "<b>&\n"})
    second = builder.run(
        "run-b",
        version=2,
        reused=dict.fromkeys(DATA_STEPS, first),
        baseline=first.artifacts["Trainer.model"],
    )
    builder.run("run-c", reused=dict.fromkeys(second.executions, second))
    builder.run("run-d", fails="Trainer", properties={"Trainer": {"error": "out of memory"}})
    return path


@pytest.fixture(scope="module")
def file(store: Path) -> Path:
    return export(store, store.with_name("all.json"))


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_exported_and_imported_the_store_gives_the_same_answers(
    store: Path, file: Path, tmp_path: Path, via: Any
) -> None:
    target = tmp_path / "new" / "metadata.sqlite"
    done = load_into(file, target)
    assert done.created and done.executions.added == 9 * 3 + 7
    assert everything(target, via) == everything(store, via)
    for ref in ("digits-keras@2", "run-a", "run-c"):
        assert model_lineage(reader_of(target, via), ref) == model_lineage(reader_of(store), ref)
    assert lines(export(target, tmp_path / "again.json")) == lines(file)
    assert [p.name for p in target.parent.iterdir()] == ["metadata.sqlite"]


def test_importing_twice_adds_nothing(store: Path, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "metadata.sqlite"
    load_into(file, target)
    before = everything(target)
    done = load_into(file, target)
    assert {c.added for c in (done.contexts, done.artifacts, done.executions, done.events)} == {0}
    assert everything(target) == before


def test_importing_into_the_store_it_came_from_adds_nothing(
    store: Path, file: Path, tmp_path: Path
) -> None:
    target = Path(shutil.copy(store, tmp_path))
    done = load_into(file, target)
    assert done.artifacts.added == done.executions.added == done.events.added == 0
    assert everything(target) == everything(store)


@pytest.mark.parametrize("order", [("run-a", "run-b", "run-c"), ("run-c", "run-b", "run-a")])
def test_exports_that_overlap_share_what_is_common(
    store: Path, tmp_path: Path, order: tuple[str, ...]
) -> None:
    target = tmp_path / "metadata.sqlite"
    for ref in order:
        load_into(export(store, tmp_path / f"{ref}.json", ref), target)
    ours, theirs = reader_of(target), reader_of(store)
    assert len(list(ours.all_artifacts())) == len(
        [a for a in theirs.all_artifacts() if a.created < find_run(theirs, "run-d").created]
    )
    for ref in ("digits-keras@1", "digits-keras@2"):
        assert forget_ids(model_lineage(ours, ref)) == forget_ids(model_lineage(theirs, ref))


def forget_ids(found: Any) -> str:
    """A lineage's text without ids, which differ between stores."""
    from dataclasses import asdict

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: without(v)
                for k, v in value.items()
                if k != "reused" and (not k.endswith("_id") or k == "run_id")
            }
        return [without(v) for v in value] if isinstance(value, list | tuple) else value

    return json.dumps(without(asdict(found)), sort_keys=True)


def test_a_part_answers_about_its_model_as_the_whole_does(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "metadata.sqlite"
    load_into(export(store, tmp_path / "part.json", "digits-keras@2"), target)
    ours, theirs = (model_lineage(reader_of(p), "digits-keras@2") for p in (target, store))
    assert forget_ids(ours) == forget_ids(theirs)
    assert [v.baseline for v in ours.verdicts] == ["digits-keras@1"]
    assert reader_of(target).context(RUN, "run-d") is None


def test_ids_in_properties_follow_the_models_they_mean(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "metadata.sqlite"
    Builder(target).run("another", pipeline="flowers", name="flowers")
    load_into(export(store, tmp_path / "all.json"), target)
    reader = reader_of(target)
    for pushed in reader.artifacts_by_type("PushedModel", {"model_name": "digits-keras"}):
        model = reader.artifacts([pushed.get("model_id")])[pushed.get("model_id")]
        made = reader.events(reader.producers([pushed.id]).values())
        assert model.type == "Model"
        assert model.id in {e.artifact_id for e in made if e.kind == "input"}
    assert model_lineage(reader, "flowers").pushes[0].name == "flowers"


def test_a_later_export_brings_an_imported_run_up_to_date(tmp_path: Path) -> None:
    source, target = tmp_path / "source.sqlite", tmp_path / "target.sqlite"
    builder = Builder(source)
    built = builder.run("run-a", fails="Trainer")
    load_into(export(source, tmp_path / "1.json"), target)
    (execution,) = builder.store.get_executions_by_id([built.executions["Trainer"]])
    execution.last_known_state = mlmd.Execution.COMPLETE
    builder.store.put_executions([execution])
    done = load_into(export(source, tmp_path / "2.json"), target)
    assert (done.executions.updated, done.executions.added) == (1, 0)
    assert everything(target) == everything(source)


def test_how_a_run_ended_is_told_by_the_export_that_knows(tmp_path: Path) -> None:
    source, between = tmp_path / "source.sqlite", tmp_path / "between.sqlite"
    Builder(source).run("run-a", run_properties={"state": "running", "pipeline": "digits"})
    early = export(source, tmp_path / "early.json")

    def states(store: Path, **asked: str) -> list[str]:
        return [r.state for r in list_runs(reader_of(store), **asked).runs]

    load_into(early, between)
    assert states(source) == states(source, state="running") == ["running"]
    assert states(between) == states(between, state="unknown") == ["unknown"]
    assert states(source, state="unknown") == states(between, state="running") == []
    assert run_detail(reader_of(between), "run-a").run.state == "unknown"
    # As a task of Kubeflow goes on with what the tasks before it recorded.
    connection = Connection.parse(str(between)).mlmd_config()
    Recorder(connection, "digits", "run-a").annotate_run(Run(state=COMPLETE))
    late = export(between, tmp_path / "late.json")
    for number, order in enumerate([(early, late), (late, early)]):
        target = tmp_path / f"{number}.sqlite"
        for file in order:
            load_into(file, target)
        assert states(target) == ["complete"]


def test_an_interrupted_import_is_repeated(
    store: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "metadata.sqlite"
    Builder(target).run("another", pipeline="flowers", name="flowers")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(metadata_store.MetadataStore, "put_events", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_into(file, target)
    done = load_into(file, target)
    assert done.executions.added == 0 and done.events.added > 0
    assert forget_ids(model_lineage(reader_of(target), "digits-keras@2")) == forget_ids(
        model_lineage(reader_of(store), "digits-keras@2")
    )


def test_an_interrupted_import_into_a_new_store_leaves_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(metadata_store.MetadataStore, "put_events", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_into(file, tmp_path / "metadata.sqlite")
    assert list(tmp_path.iterdir()) == []


Change = Callable[[list[bytes]], list[bytes]]


def replaced(old: str, new: str) -> Change:
    def change(content: list[bytes]) -> list[bytes]:
        text = b"".join(content)
        assert old.encode() in text
        return [text.replace(old.encode(), new.encode(), 1)]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: [], "empty"),
        (lambda c: [b"\x89PNG\r\n\x1a\n" + b"\0" * 100], "not a lineage export"),
        (lambda c: [b"x" * 300_000], "not a lineage export"),
        (lambda c: [b'{"schema": 1}\n'], "not a lineage export"),
        (lambda c: [b"[" * 60_000], "not a lineage export"),
        (lambda c: c[:-1], "cut short"),
        (lambda c: [*c[:-1], c[-1][: len(c[-1]) // 2]], "not JSON"),
        (lambda c: c[:5] + c[6:], "type"),
        (lambda c: [*c[:-1], c[-2], c[-1]], "lines are missing or doubled"),
        (lambda c: [*c, c[-2]], "after the end"),
        (replaced("export/1", "export/2"), "format is 'visionline.lineage.export/2'"),
        (replaced('"mlmd_schema_version":10', '"mlmd_schema_version":11'), "schema version 11"),
        (replaced('"state":"LIVE"', '"state":"ALIVE"'), "'state' cannot be 'ALIVE'"),
        (replaced('"uri":', '"url":'), "unknown field 'url'"),
        (replaced('{"int":1}', '{"int":"1"}'), "cannot be"),
        (replaced('{"int":1}', '{"int":9223372036854775808}'), "cannot be"),
        (replaced('{"double":1.5}', '{"double":NaN}'), "not JSON"),
        (replaced('{"double":1.5}', '{"double":1e999}'), "cannot be"),
        (replaced('{"string":"run-a"}', '{"string":"\\ud800"}'), "cannot be"),
        (replaced('{"event":{"execution":1', '{"event":{"execution":999'), "execution 999 is not"),
        (replaced('{"association":[', '{"association":[999,'), "two ids"),
        (replaced('"custom":{}', '"custom":[]'), "cannot be"),
        (replaced('"base":null', '"base":"mlmd.Cake"'), "base type"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(
    file: Path, tmp_path: Path, change: Change, says: str
) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    target = tmp_path / "metadata.sqlite"
    with pytest.raises(ExportError, match=says):
        load_into(damaged, target)
    assert not target.exists()


def test_a_type_with_other_properties_is_refused(tmp_path: Path) -> None:
    def store_with(name: str, number: int) -> Path:
        builder = Builder(tmp_path / name)
        type_ = mlmd.ArtifactType(name="Thing", properties={"size": number})
        builder.store.put_artifact_type(type_)
        return tmp_path / name

    source = store_with("source.sqlite", mlmd.INT)
    target = store_with("target.sqlite", mlmd.STRING)
    with pytest.raises(StoreError, match="'size' of type STRING"):
        load_into(export(source, tmp_path / "x.json"), target)


def test_no_file_and_no_store(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Cannot read"):
        load_into(tmp_path / "none.json", tmp_path / "metadata.sqlite")


def test_a_store_that_is_no_store_is_left_alone(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "metadata.sqlite"
    target.write_text("not a database, but somebody's notes")
    with pytest.raises(StoreError):
        load_into(file, target)
    assert target.read_text() == "not a database, but somebody's notes"


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = TEXTS.filter(lambda t: 0 < len(t) <= 30)
# MLMD on SQLite keeps six decimals, and no infinities.
NUMBERS = st.integers(-(10**12), 10**12).map(lambda i: i / 10**6)
STRUCTS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXTS | st.just(float("inf")),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
PROPERTIES = st.dictionaries(
    NAMES,
    st.one_of(
        st.tuples(st.just("int_value"), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("double_value"), NUMBERS),
        st.tuples(st.just("string_value"), TEXTS),
        st.tuples(st.just("bool_value"), st.booleans()),
        st.tuples(st.just("struct_value"), STRUCTS),
        st.tuples(st.just("proto_value"), st.binary(max_size=20)),
    ),
    max_size=5,
)


def fill(slots: Any, values: dict[str, tuple[str, Any]]) -> None:
    for name, (kind, value) in values.items():
        if kind == "struct_value":
            slots[name].struct_value.SetInParent()
            slots[name].struct_value.update(value)
        elif kind == "proto_value":
            slots[name].proto_value.type_url = "type.googleapis.com/google.protobuf.Any"
            slots[name].proto_value.value = value
        else:
            setattr(slots[name], kind, value)


@settings(max_examples=25, deadline=None)
@given(PROPERTIES, PROPERTIES, TEXTS, NAMES)
def test_every_property_and_name_survives(
    tmp_path_factory: pytest.TempPathFactory,
    custom: dict[str, tuple[str, Any]],
    declared: dict[str, tuple[str, Any]],
    uri: str,
    name: str,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = Builder(folder / "metadata.sqlite").store
    kinds = {
        "int_value": mlmd.INT,
        "double_value": mlmd.DOUBLE,
        "string_value": mlmd.STRING,
        "bool_value": mlmd.BOOLEAN,
        "struct_value": mlmd.STRUCT,
        "proto_value": mlmd.PROTO,
    }
    type_ = mlmd.ArtifactType(
        name="Thing", version="v1", description=uri, base_type=mlmd.ArtifactType.MODEL
    )
    for key, (kind, _) in declared.items():
        type_.properties[key] = kinds[kind]
    type_id = store.put_artifact_type(type_)
    artifact = mlmd.Artifact(type_id=type_id, uri=uri, name=name, external_id=name)
    fill(artifact.properties, declared)
    fill(artifact.custom_properties, custom)
    store.put_artifacts([artifact])
    parent, child = store.put_contexts(
        [
            mlmd.Context(type_id=store.put_context_type(mlmd.ContextType(name=kind)), name=name)
            for kind in ("parent", "child")
        ]
    )
    store.put_parent_contexts([mlmd.ParentContext(child_id=child, parent_id=parent)])
    file = export(folder / "metadata.sqlite", folder / "1.json")
    load_into(file, folder / "again.sqlite")
    assert lines(export(folder / "again.sqlite", folder / "2.json")) == lines(file)
    stored, copied = (
        metadata_store.MetadataStore(
            Connection.parse(str(folder / p)).mlmd_config(readonly=True)
        ).get_artifacts()[0]
        for p in ("metadata.sqlite", "again.sqlite")
    )
    del copied.custom_properties["visionline_imported"]
    for field in ("properties", "custom_properties", "uri", "name", "external_id", "state"):
        assert getattr(copied, field) == getattr(stored, field)


def test_orphaned_events_and_cycles_neither_hang_nor_break(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "metadata.sqlite"
    builder = Builder(path)
    built = builder.run("run-a")
    event = mlmd.Event(type=mlmd.Event.INPUT, artifact_id=built.artifacts["Trainer.model"])
    event.execution_id = built.executions["ImageExampleGen"]  # made from what it led to
    builder.store.put_events([event])
    del builder
    with sqlite3.connect(path) as database:
        orphan = "INSERT INTO Event (artifact_id, execution_id, type) VALUES (?, ?, 3)"
        database.execute(orphan, (777, built.executions["Trainer"]))
        database.execute(orphan, (built.artifacts["Trainer.model"], 888))
    target = tmp_path / "again.sqlite"
    load_into(export(path, tmp_path / "x.json", "run-a"), target)
    assert forget_ids(model_lineage(reader_of(target), "run-a")) == forget_ids(
        model_lineage(reader_of(path), "run-a")
    )


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_store_moves_to_a_server_and_back(
    file: Path,
    store: Path,
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else kind)
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    for name in ("MYSQL_PWD", "PGPASSWORD"):
        monkeypatch.setenv(name, "")  # so that what is set in between is put back
    connection = Connection.parse(server.url(f"moved_{kind}"))
    assert load(file, connection).executions.added == 9 * 3 + 7
    assert load(file, connection).executions.added == 0
    reader = open_reader(connection)
    assert model_lineage(reader, "digits-keras@2") == model_lineage(
        reader_of(store), "digits-keras@2"
    )
    (tmp_path / "back.json").write_bytes(b"".join(dump_of(reader, None, None)))
    reader.close()
    load_into(tmp_path / "back.json", tmp_path / "metadata.sqlite")
    assert everything(tmp_path / "metadata.sqlite") == everything(store)
