"""The fast reader and MLMD's own library give equal answers."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from helpers import EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reader_answers import both_readers, every_answer, methods

from benchmarks.lineage_steps import NODES
from benchmarks.lineage_stores import generate
from common.errors import NotFoundError
from lineage.cache.explain import explain_cache
from lineage.questions.affected import affected_by, affected_by_span
from lineage.questions.affected_images import affected_by_images
from lineage.questions.diff import diff
from lineage.questions.history import history
from lineage.questions.model import model_lineage
from lineage.questions.rollback_candidates import rollback_candidates
from lineage.questions.run_detail import run_detail
from lineage.questions.runs import STATES, list_runs
from lineage.questions.served import served
from lineage.questions.verdicts import why_not_blessed
from lineage.store.connection import Connection
from lineage.store.opening import open_reader
from lineage.store.reader import Reader
from lineage.store.structs import parse_struct

pytestmark = pytest.mark.quick

BY_NAME = (history, served, rollback_candidates)
TYPES = ("Examples", "Model", "PushedModel", "ModelBlessing")
STEPS = ("tfx.components.trainer.component.Trainer", "Transform", "a.Pusher<script>")
CONTEXTS = ("pipeline_run", "pipeline", "node", "execution_cache")
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
WORDS = TEXT | st.sampled_from(["", "ünï→", "<b>&amp;", 'it\'s "x" \\ %s ?', "1", "null", "a\nb"])
NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
VALUES = (
    WORDS
    | INTEGERS
    | NUMBERS
    | st.booleans()
    | st.dictionaries(WORDS, JSON, max_size=3)
    | st.builds(lambda value: {"__value__": value}, JSON)
    | st.just(b"a message")
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["pushed", "model_name", "span", "run_id", "state", "visionline_imported"])
    | WORDS,
    VALUES,
    max_size=4,
)
RECORDS = st.tuples(st.integers(0, 3), st.integers(0, 6), PROPERTIES)
"""Number of the type, of the state, properties."""
KEYS = WORDS | st.sampled_from(["model", "examples"])
EVENTS = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 6), KEYS, st.booleans())
"""Artifact, execution, type, key, whether the index comes first."""
# Events may stay behind.  On properties and associations without the node they belong to,
# MLMD's library aborts the process; ours need not be compared with it there.
DAMAGE = st.sampled_from(
    [
        "DELETE FROM Artifact WHERE id = {0}; DELETE FROM ArtifactProperty WHERE artifact_id = {0}",
        "DELETE FROM Execution WHERE id = {0}; DELETE FROM Association WHERE execution_id = {0};"
        "DELETE FROM ExecutionProperty WHERE execution_id = {0}",
        "DELETE FROM Context WHERE id = {0}; DELETE FROM Association WHERE context_id = {0};"
        "DELETE FROM ContextProperty WHERE context_id = {0}",
        "DELETE FROM EventPath WHERE event_id = {0}",
        "UPDATE Artifact SET state = NULL WHERE id = {0}",
        "UPDATE Execution SET last_known_state = NULL WHERE id = {0}",
        "UPDATE Execution SET last_known_state = 5 WHERE id = {0}",
        "UPDATE Artifact SET uri = '' WHERE id = {0}",
    ]
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("generated"), 60, seed=1, names=3)


def test_every_method_is_compared(generated: Path) -> None:
    with both_readers(generated) as (fast, reference):
        found, expected = every_answer(fast), every_answer(reference)
        assert found.keys() == methods()
        for method in expected:
            assert found[method] == expected[method], method
        states = set(expected["execution_states"].values())
        assert states == {"COMPLETE", "CACHED", "FAILED"}
        assert any(v.get("extra_columns") == [] for v in map(_custom, expected["all_artifacts"]))


def test_models_of_a_generated_store(generated: Path) -> None:
    """By every way a model can be named, with and without its baselines."""
    with both_readers(generated) as (fast, reference):
        refs = {str(a.id) for a in fast.artifacts_by_type("Model")}
        for pushed in fast.artifacts_by_type("PushedModel", {"pushed": 1}):
            name = str(pushed.get("model_name"))
            refs |= {name, f"{name}@{pushed.get('pushed_version')}", pushed.uri, str(pushed.id)}
        whole = [
            str(r.name) for r in fast.latest_contexts("pipeline_run") if r.get("state") != "failed"
        ]
        assert len(refs) > 100 and len(whole) > 40
        for ref in sorted(refs | set(whole)):
            for cut in (("baseline_model",), ()):
                found = model_lineage(fast, ref, cut)
                assert found == model_lineage(reference, ref, cut), ref
                steps = [p.component for p in found.producers]
                assert steps.count("ImageExampleGen") >= 1 and "Trainer" in steps
                assert found.run is not None and found.data[0].digest is not None


def test_questions_about_a_generated_store(generated: Path) -> None:
    with both_readers(generated) as (fast, reference):
        runs = [str(c.name) for c in fast.latest_contexts("pipeline_run")]
        pushed = fast.artifacts_by_type("PushedModel", {"pushed": 1})[::4]
        names = sorted({str(p.get("model_name")) for p in pushed})
        versions = [f"{p.get('model_name')}@{p.get('pushed_version')}" for p in pushed]
        questions: list[Callable[[Reader], Any]] = [
            *(partial(list_runs, limit=n, state=s) for n in (5, 100) for s in (None, *STATES)),
            *(partial(list_runs, pipeline=p) for p in ("photos", "none")),
            *(partial(run_detail, ref=r, resolvers=True) for r in runs[::4]),
            *(partial(diff, a=a, b=b) for a, b in pairwise(versions)),
            *(partial(affected_by, ref=r) for r in versions[::2]),
            *(partial(affected_by_span, span=s) for s in (0, 1, 99)),
            partial(affected_by_images, asked={"0" * 64: None}),
            *(partial(question, name=n) for n in names for question in BY_NAME),
            *(partial(why_not_blessed, ref=r) for r in runs[::2]),
            *(partial(explain_cache, run_ref=r, component=c) for r in runs[::4] for c in NODES),
        ]
        answers = [_answer(question, fast) for question in questions]
        for question, answer in zip(questions, answers, strict=True):
            assert answer == _answer(question, reference), question
        found = [a for a in answers if not isinstance(a, str)]
        assert len(found) > len(questions) / 2


def _answer(question: Callable[[Reader], Any], reader: Reader) -> Any:
    try:
        return question(reader)
    except NotFoundError as e:
        return str(e)


def test_the_generator_writes_what_it_says(generated: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", 60, seed=1, names=3)
    with both_readers(generated) as (fast, _):
        runs = fast.latest_contexts("pipeline_run")
        assert len(runs) == 60
        executions = fast.executions(fast.execution_states())
        failed = {e.get("run_id") for e in executions.values() if e.state == "FAILED"}
        assert {r.name for r in runs if r.get("state") == "failed"} == failed
        first = [a.name for a in runs]
    with both_readers(again) as (fast, _):
        assert [a.name for a in fast.latest_contexts("pipeline_run")] == first


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has types and nothing else."""
    path = tmp_path_factory.mktemp("empty") / "metadata.sqlite"
    store = _open(path)
    for name in TYPES:
        store.put_artifact_type(mlmd.ArtifactType(name=name, properties={"span": mlmd.INT}))
    for name in STEPS:
        store.put_execution_type(mlmd.ExecutionType(name=name))
    for name in CONTEXTS:
        store.put_context_type(mlmd.ContextType(name=name))
    return path


@settings(EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    artifacts=st.lists(RECORDS, max_size=6),
    executions=st.lists(RECORDS, max_size=6),
    contexts=st.lists(RECORDS, max_size=4),
    events=st.lists(EVENTS, max_size=12, unique_by=lambda e: e[:3]),
    damage=st.lists(st.tuples(DAMAGE, st.integers(1, 6)), max_size=3),
)
def test_any_store(
    empty: Path,
    artifacts: list[tuple[int, int, Any]],
    executions: list[tuple[int, int, Any]],
    contexts: list[tuple[int, int, Any]],
    events: list[tuple[int, int, int, str, bool]],
    damage: list[tuple[str, int]],
) -> None:
    """Values of every kind, cycles, and what is left when rows are deleted."""
    path = empty.with_name("any.sqlite")
    shutil.copyfile(empty, path)
    _write(_open(path), artifacts, executions, contexts, events)
    with sqlite3.connect(path) as database:
        for statement, id_ in damage:
            database.executescript(statement.format(id_))
    database.close()
    with both_readers(path) as (fast, reference):
        found, expected = every_answer(fast), every_answer(reference)
    for method in expected:
        assert found[method] == expected[method], method


def test_associations_without_their_ends(generated: Path, tmp_path: Path) -> None:
    """On which MLMD's own library aborts the process."""
    path = tmp_path / "metadata.sqlite"
    shutil.copyfile(generated, path)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM Context WHERE id = 1")
        database.execute("DELETE FROM Execution WHERE id = 2")
    database.close()
    reader = open_reader(Connection.parse(str(path)))
    assert reader.executions_in([1])[1][:2] == [1, 2]
    assert 1 not in [c.id for c in reader.contexts_of([1, 2])[1]]
    assert model_lineage(reader, "birds-keras").run is not None
    reader.close()


@EXAMPLES
@given(st.dictionaries(WORDS, JSON, max_size=4))
def test_structs_are_read_as_protobuf_reads_them(value: dict[str, Any]) -> None:
    message = json_format.ParseDict(value, struct_pb2.Struct())
    assert parse_struct(message.SerializeToString()) == value


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05ab", b"\x0b", b"\x08\x80", b"\x0a\x03\x0a\x01\xff", b"\x08\x01"]
)
def test_what_is_no_struct(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_struct(data)


def _custom(artifact: Any) -> Mapping[str, Any]:
    return artifact.custom


def _open(path: Path) -> metadata_store.MetadataStore:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return metadata_store.MetadataStore(config)


def _write(
    store: metadata_store.MetadataStore,
    artifacts: list[tuple[int, int, Any]],
    executions: list[tuple[int, int, Any]],
    contexts: list[tuple[int, int, Any]],
    events: list[tuple[int, int, int, str, bool]],
) -> None:
    types = {
        t.name: t.id
        for kind in (store.get_artifact_types, store.get_execution_types, store.get_context_types)
        for t in kind()
    }
    made = [
        _node(mlmd.Artifact(type_id=types[TYPES[t]], uri=f"/a/{t}", state=state), values)
        for t, state, values in artifacts
    ]
    done = [
        _node(mlmd.Execution(type_id=types[STEPS[t % 3]], last_known_state=state), values)
        for t, state, values in executions
    ]
    groups = [
        _node(mlmd.Context(type_id=types[CONTEXTS[t]], name=f"<{n}>é"), values)
        for n, (t, _, values) in enumerate(contexts)
    ]
    artifact_ids = store.put_artifacts(made) if made else []
    execution_ids = store.put_executions(done) if done else []
    context_ids = store.put_contexts(groups) if groups else []
    written = []
    for artifact, execution, kind, key, index_first in events:
        if artifact < len(made) and execution < len(done):
            event = mlmd.Event(
                artifact_id=artifact_ids[artifact], execution_id=execution_ids[execution], type=kind
            )
            steps = [mlmd.Event.Path.Step(key=key), mlmd.Event.Path.Step(index=artifact)]
            event.path.steps.extend(reversed(steps) if index_first else steps)
            written.append(event)
    if written:
        store.put_events(written)
    pairs = itertools.product(context_ids, execution_ids)
    associations = [mlmd.Association(context_id=c, execution_id=e) for c, e in pairs]
    if associations:
        store.put_attributions_and_associations([], associations[::2])


def _node(node: Any, values: Mapping[str, Any]) -> Any:
    for key, value in values.items():
        slot = node.custom_properties[key]
        if isinstance(value, bool):
            slot.bool_value = value
        elif isinstance(value, int):
            slot.int_value = value
        elif isinstance(value, float):
            slot.double_value = value
        elif isinstance(value, str):
            slot.string_value = value
        elif isinstance(value, bytes):
            slot.proto_value.Pack(struct_pb2.Struct())
        else:
            json_format.ParseDict(value, slot.struct_value)
    return node
