"""What is in serving, a model's history, and what could be rolled back to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from lineage_store import Builder, BuiltRun
from reference_reader import open_reader
from served_versions import NAME, serve

from common.errors import DataError, NotFoundError
from lineage.graph.refs import find_artifact, find_model, find_pushed
from lineage.questions.history import history
from lineage.questions.model import model_lineage
from lineage.questions.rollback_candidates import rollback_candidates
from lineage.questions.runs import list_runs
from lineage.questions.served import served
from lineage.storage.gc import plan
from lineage.storage.verify import verify
from lineage.store.connection import Connection
from lineage.store.reader import Reader
from modelstore.rollback import roll_back
from modelstore.versions import list_versions

pytestmark = pytest.mark.quick


def push(builder: Builder, version: int | None, accuracy: float, **more: Any) -> BuiltRun:
    """A run that trained, judged and pushed."""
    properties: dict[str, dict[str, Any]] = {
        "Evaluator": {"accuracy": accuracy},
        "Trainer": {
            "latency_onnx_ms": float(version or 0),
            "epochs_run": 3,
            "train_seconds": 2.5,
            "dataset_digest": "d1",
        },
    }
    return builder.run(
        version=version,
        properties=properties,
        run_properties={"user": "ann"},
        artifact_properties={
            "ImageExampleGen.examples": {"dataset_digest": "d1", "span": 4},
            "Trainer.model": {"framework": "keras", "architecture": "small_cnn"},
        },
        **more,
    )


def four_versions(root: Path) -> Path:
    """Versions 1 to 4 of a model in the store, one run not blessed; 2 is gone."""
    builder = Builder(root / "metadata.sqlite")
    for version, accuracy in ((1, 0.90), (2, 0.92), (None, 0.1), (3, 0.95), (4, 0.94)):
        push(builder, version, accuracy)
        if version is not None:
            serve(root, ("a", "b", "c") if version == 3 else ("a", "b"))
    shutil.rmtree(root / "serving" / NAME / "2")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return four_versions(tmp_path)


def reader_of(root: Path, via: Literal["sql", "mlmd"] = "sql") -> Reader:
    return open_reader(Connection.parse(str(root / "metadata.sqlite")), via)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that change nothing."""
    return four_versions(tmp_path_factory.mktemp("shared"))


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_served_is_what_is_in_the_folder_now(shared: Path, via: Literal["sql", "mlmd"]) -> None:
    found = served(reader_of(shared, via))
    assert [(v.version, v.serving) for v in found.versions] == [
        (4, "latest"),
        (3, "kept"),
        (1, "kept"),
    ]
    assert (found.pushed, found.found) == (4, 3)
    newest = found.versions[0]
    assert (newest.framework, newest.architecture, newest.headline_value) == (
        *("keras", "small_cnn"),
        0.94,
    )
    assert (newest.data_digest, newest.data_span) == ("d1", 4)
    assert (newest.run_id, newest.user) == ("run-00005", "ann")


def test_served_all_has_what_was_removed_too(shared: Path) -> None:
    found = served(reader_of(shared), NAME, removed=True)
    assert {v.version: v.serving for v in found.versions}[2] == "removed"
    two = served(reader_of(shared), NAME, removed=True, limit=2)
    assert [v.version for v in two.versions] == [4, 3]
    assert two.found == 4


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_history_has_every_version_in_the_order_of_time(
    shared: Path, via: Literal["sql", "mlmd"]
) -> None:
    found = history(reader_of(shared, via), NAME)
    assert [(v.version, v.headline_value, v.latency_ms) for v in found.versions] == [
        *((1, 0.90, 1.0), (2, 0.92, 2.0), (3, 0.95, 3.0), (4, 0.94, 4.0)),
    ]
    assert all((v.epochs, v.seconds, v.blessed) == (3, 2.5, True) for v in found.versions)
    newest = history(reader_of(shared, via), NAME, limit=2)
    assert [v.version for v in newest.versions] == [3, 4]
    assert newest.pushed == 4


def test_both_readers_know_the_same(shared: Path) -> None:
    sql, mlmd = reader_of(shared, "sql"), reader_of(shared, "mlmd")
    assert served(sql, removed=True) == served(mlmd, removed=True)
    assert rollback_candidates(sql, NAME) == rollback_candidates(mlmd, NAME)


def test_a_model_pushed_again_is_one_version(root: Path) -> None:
    """An Evaluator that ran again makes the Pusher run again, on what is served already."""
    builder = Builder(root / "metadata.sqlite")
    first = push(builder, 5, 0.96)
    push(builder, 5, 0.99, reused={"Trainer": first})
    serve(root)
    versions = history(reader_of(root), NAME).versions
    assert [v.version for v in versions] == [1, 2, 3, 4, 5]
    assert versions[-1].headline_value == 0.96


def test_a_version_that_was_replaced_is_not_in_serving(root: Path) -> None:
    """The folder was emptied, with what counts its versions: another model is version 1."""
    push(Builder(root / "metadata.sqlite"), 1, 0.5)
    ones = [v for v in history(reader_of(root), NAME).versions if v.version == 1]
    assert [(v.headline_value, v.serving) for v in ones] == [(0.90, "removed"), (0.5, "kept")]


def test_candidates_are_whole_and_the_others_say_why_not(root: Path) -> None:
    (root / "serving" / NAME / "1" / "weights").write_text("changed")
    found = rollback_candidates(reader_of(root), NAME)
    assert found.served == 4 and found.current is not None and found.current.version == 4
    assert [(c.version.version, c.usable) for c in found.candidates] == [
        *((3, True), (2, False), (1, False)),
    ]
    three, two, one = found.candidates
    assert three.headline_difference == pytest.approx(0.01)
    assert (three.classes_added, three.classes_missing) == (("c",), ())
    assert two.why_not == ("removed from the serving folder",)
    assert one.why_not == ("weights: changed",)


def test_what_was_not_blessed_is_said_of_a_candidate(root: Path) -> None:
    builder = Builder(root / "metadata.sqlite")
    builder.run(version=5, properties={"Evaluator": {"blessed": 0}})
    push(builder, 6, 0.9)
    serve(root)
    serve(root)
    found = rollback_candidates(reader_of(root), NAME)
    assert found.candidates[0].usable and found.candidates[0].cautions == ("not blessed",)


def test_what_is_usable_is_what_a_rollback_takes(root: Path) -> None:
    """After each of several rollbacks, and for every version, the two agree."""
    folder = root / "serving" / NAME
    (folder / "1" / "weights").write_text("changed")
    serve(root)  # which the store does not know
    for _ in range(3):
        found = rollback_candidates(reader_of(root), NAME)
        usable = {c.version.version for c in found.candidates if c.usable}
        for version in list_versions(folder)[:-1]:
            copy = root / f"copy-{len(list_versions(folder))}-{version}" / NAME
            shutil.copytree(folder, copy)
            taken = True
            try:
                roll_back(copy, version)
            except DataError:
                taken = False
            assert taken == (version in usable or version in found.strangers), version
        if found.taken is None:
            with pytest.raises(DataError, match="no older version"):
                roll_back(folder)
            break
        assert roll_back(folder).copied == found.taken
    said = {c.version.version: c.cautions for c in found.candidates if c.usable}
    assert said[4] == ("rolled back from by version 7",)


def test_versions_of_another_store_are_named(root: Path) -> None:
    serve(root)
    found = rollback_candidates(reader_of(root), NAME)
    assert (found.served, found.current, found.strangers) == (5, None, (5,))
    assert all(c.headline_difference is None for c in found.candidates)
    assert [c.version.version for c in found.candidates if c.usable] == [4, 3, 1]


def test_nothing_in_the_folder(root: Path) -> None:
    shutil.rmtree(root / "serving" / NAME)
    found = rollback_candidates(reader_of(root), NAME)
    assert (found.served, found.current) == (None, None)
    assert not any(c.usable for c in found.candidates)
    assert served(reader_of(root)).versions == ()
    assert {v.serving for v in history(reader_of(root), NAME).versions} == {"removed"}


def test_on_another_machine_nothing_is_said_to_be_removed(root: Path) -> None:
    """As where a store was copied or imported, and the serving folder was not."""
    shutil.rmtree(root / "serving")
    reader = reader_of(root)
    assert [v.serving for v in served(reader).versions] == [None] * 4
    model = model_lineage(reader, f"{NAME}@1")
    assert [p.serving for p in model.pushes] == [None]
    told = rollback_candidates(reader, NAME).candidates
    assert {c.why_not for c in told} == {("its folder cannot be seen from here",)}
    assert verify(reader, quick=True).problems == verify(reader).problems
    assert not [p for p in verify(reader).problems if p.artifact_id is None]


def test_what_was_pushed_elsewhere_is_needed(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite", files=True)
    elsewhere = {"Pusher.pushed_model": {"pushed_destination": "/mnt/none/serving/m/1"}}
    first = builder.run(version=1, artifact_properties=elsewhere)
    for _ in range(5):
        builder.run(version=None)
    found = plan(reader_of(tmp_path), builder.root, keep_runs=1)
    assert found.remove
    assert first.artifacts["Trainer.model"] not in {i.artifact_id for i in found.remove}


def test_two_serving_folders_of_one_name(root: Path) -> None:
    other = root / "other" / NAME
    artifact = {"Pusher.pushed_model": {"pushed_destination": str(other / "1")}}
    run = Builder(root / "metadata.sqlite").run(version=1, artifact_properties=artifact)
    shutil.copytree(root / "serving" / NAME / "1", other / "1")
    reader = reader_of(root)
    with pytest.raises(NotFoundError, match="more than one folder"):
        find_pushed(reader, NAME, "1")
    assert find_pushed(reader, NAME, "2").get("pushed_version") == 2
    latest = find_artifact(reader, NAME)
    assert latest is not None and latest.id == run.artifacts["Pusher.pushed_model"]
    with pytest.raises(NotFoundError, match="more than one serving folder"):
        rollback_candidates(reader, NAME)
    assert rollback_candidates(reader, str(other)).served == 1
    assert [v.version for v in served(reader, str(other)).versions] == [1]


@pytest.mark.parametrize("via", ["sql", "mlmd"])
def test_a_store_of_another_tfx_pipeline(tmp_path: Path, via: Literal["sql", "mlmd"]) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    first = builder.run("first", version=1700000001, name="taxi", foreign=True)
    builder.run("second", version=1700000002, name="taxi", foreign=True)
    (tmp_path / "serving" / "taxi" / "1700000001").mkdir(parents=True)
    reader = reader_of(tmp_path, via)
    (record,) = served(reader).versions
    assert (record.name, record.version, record.serving) == ("taxi", 1700000001, "latest")
    assert (record.run_id, record.blessed) == ("first", True)
    assert record.model_id == first.artifacts["Trainer.model"]
    assert record.framework is record.headline_value is None
    assert record.latency_ms is record.data_digest is None
    assert find_model(reader, "taxi@1700000001").id == first.artifacts["Trainer.model"]
    assert len(history(reader, "taxi").versions) == 2
    (candidate,) = rollback_candidates(reader, "taxi").candidates
    assert candidate.why_not == ("removed from the serving folder",)


def test_what_is_written_later_does_not_move_a_verdict_after_its_push(tmp_path: Path) -> None:
    """A run writes its accuracy to the Evaluator's execution when it has ended."""
    builder = Builder(tmp_path / "metadata.sqlite")
    run = builder.run(version=1, properties={"Evaluator": {"duration_seconds": 0.0}})
    (judge,) = builder.store.get_executions_by_id([run.executions["Evaluator"]])
    while time.time() < judge.create_time_since_epoch / 1000 + 2:
        time.sleep(0.1)  # times are told in seconds
    judge.custom_properties["accuracy"].double_value = 0.9
    builder.store.put_executions([judge])
    (judge,) = builder.store.get_executions_by_id([judge.id])
    assert judge.last_update_time_since_epoch > judge.create_time_since_epoch + 1000
    found = model_lineage(reader_of(tmp_path), NAME)
    assert found.verdicts[0].when <= found.pushes[0].when


def test_a_pusher_that_found_its_model_served_has_not_pushed_it(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "metadata.sqlite")
    builder.run("first", version=1)
    builder.run("second", version=1, properties={"Pusher": {"already_served": 1}})
    second, first = list_runs(reader_of(tmp_path)).runs
    assert (first.pushed, first.pushed_before) == ("digits-keras@1", False)
    assert (second.pushed, second.pushed_before) == ("digits-keras@1", True)


def test_a_bucket_cannot_be_looked_into(tmp_path: Path) -> None:
    bucket = {"Pusher.pushed_model": {"pushed_destination": "gs://bucket/digits/7"}}
    Builder(tmp_path / "metadata.sqlite").run(version=7, artifact_properties=bucket)
    reader = reader_of(tmp_path)
    (record,) = served(reader).versions
    assert record.serving is None
    assert find_model(reader, "gs://bucket/digits/7").id == record.model_id


ASKED: dict[str, Callable[[Reader, str], Any]] = {
    "served": served,
    "history": history,
    "rollback": rollback_candidates,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_an_unknown_name_names_the_known_ones(
    shared: Path, ask: Callable[[Reader, str], Any]
) -> None:
    with pytest.raises(NotFoundError, match=r"'digits-kera'\. Did you mean 'digits-keras'\?"):
        ask(reader_of(shared), "digits-kera")


def test_an_empty_store_has_pushed_nothing(tmp_path: Path) -> None:
    Builder(tmp_path / "metadata.sqlite").run(version=None)
    reader = reader_of(tmp_path)
    assert served(reader).pushed == 0
    with pytest.raises(NotFoundError, match="Nothing was pushed yet"):
        history(reader, NAME)


@pytest.mark.parametrize(
    "ref", ["no-such", "digits-keras@9", "999999", "/no/such/path", "x" * 5000, "a@b@c", "", "@"]
)
def test_nonsense_is_not_found(shared: Path, ref: str) -> None:
    with pytest.raises(NotFoundError):
        find_model(reader_of(shared), ref)


def test_a_served_version_of_another_store_is_not_taken_for_one_of_this(shared: Path) -> None:
    """It has the name and number of a version that this store knows."""
    with pytest.raises(NotFoundError, match="of the run r, whose model"):
        find_model(reader_of(shared), str(shared / "serving" / NAME / "1"))
