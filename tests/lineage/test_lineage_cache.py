"""Why the cache was hit or not, on built stores; test_runs.py asks it of real runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineage_store import COMPONENTS, Builder, BuiltRun
from ml_metadata.proto import metadata_store_pb2 as mlmd
from reference_reader import open_reader
from typer.testing import CliRunner

from common.errors import NotFoundError
from common.record.record import name_of
from common.record.steps import Step
from lineage.cache.explain import CacheExplanation, explain_cache
from lineage.cache.key_diff import differences
from lineage.cache.key_parts import Parts
from lineage.store.connection import Connection
from pipeline.cli.main import app

pytestmark = pytest.mark.quick

DATA = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)
MODEL = ("Trainer", "Evaluator", "Pusher")


class Cached:
    """A store whose executions may say what their keys are made of."""

    def __init__(self, folder: Path, *, files: bool = False) -> None:
        self.path = folder / "metadata.sqlite"
        self.builder = Builder(self.path, files=files)

    def run(self, run_id: str, **more: Any) -> BuiltRun:
        more["run_properties"] = {"pipeline": "digits", **more.get("run_properties", {})}
        return self.builder.run(run_id, **more)

    def ask(self, run: str, component: str) -> CacheExplanation:
        """Both readers agree."""
        connection = Connection.parse(str(self.path))
        sql, mlmd_ = (
            explain_cache(open_reader(connection, via), run, component) for via in ("sql", "mlmd")
        )
        assert sql == mlmd_
        return sql


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    return Cached(tmp_path)


def trainer(**config: Any) -> dict[str, Any]:
    return {"Trainer": {"config": json.dumps(config), "code_digest": "a" * 64, "accuracy": 0.9}}


def key(name: str, **parts: Any) -> dict[str, str]:
    return Step(cache_key=name, cache_parts={"enabled": True, **parts}).properties()


def test_hit(cached: Cached) -> None:
    first = cached.run("run-a")
    cached.run("run-b", reused=dict.fromkeys(COMPONENTS, first))
    found = cached.ask("run-b", "Trainer")
    assert found.outcome == "hit" and found.state == "CACHED"
    assert found.reused is not None and found.reused.run_id == "run-a"
    assert found.reused.execution_id == first.executions["Trainer"]
    assert "run run-a had done the same work" in found.summary
    assert found.chain == () and found.root_causes == ()


def test_first_execution(cached: Cached) -> None:
    cached.run("run-a")
    found = cached.ask("run-a", "trainer")
    assert (found.outcome, found.component) == ("miss", "Trainer")
    assert found.summary == "Trainer was executed because it had not run before."


def test_changed_parameter_is_named_by_its_place_in_the_config(cached: Cached) -> None:
    config = {"epochs": 20, "augment": {"zoom": 0.1, "rotation": 8}}
    first = cached.run("run-a", properties=trainer(**config))
    changed = {**config, "epochs": 1, "augment": {"zoom": 0.2, "rotation": 8}}
    data = dict.fromkeys(DATA, first)
    cached.run("run-b", reused=data, properties=trainer(**changed))
    found = cached.ask("run-b", "Trainer")
    assert [(r.kind, r.key, r.before, r.after) for r in found.root_causes] == [
        ("parameter", "train.augment.zoom", "0.1", "0.2"),
        ("parameter", "train.epochs", "20", "1"),
    ]
    assert found.summary == (
        "Trainer was executed because train.augment.zoom changed from 0.1 to 0.2; "
        "train.epochs changed from 20 to 1."
    )
    assert not found.exact


def test_annotations_are_no_parameters(cached: Cached) -> None:
    first = cached.run("run-a", properties=trainer(epochs=20))
    properties = trainer(epochs=1)
    properties["Trainer"] |= {"accuracy": 0.5, "framework": "pytorch", "hyper_parameters": "{}"}
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=properties)
    assert [r.key for r in cached.ask("run-b", "Trainer").root_causes] == ["train.epochs"]


def test_a_changed_input_leads_back_to_what_changed_first(cached: Cached) -> None:
    data = {"ImageExampleGen": {"config": '{"path": "/p"}', "input_fingerprint": "1" * 64}}
    cached.run("run-a", properties=data)
    data["ImageExampleGen"]["input_fingerprint"] = "2" * 64
    cached.run("run-b", properties=data)
    found = cached.ask("run-b", "Pusher")
    assert [(r.component, r.key) for r in found.root_causes] == [
        ("ImageExampleGen", "input_fingerprint")
    ]
    assert found.summary == (
        "Pusher was executed because in ImageExampleGen, the data changed: "
        "its digest was 111111111111 and is 222222222222."
    )
    depths = {r.component: r.depth for r in reversed(found.chain)}
    assert (depths["Pusher"], depths["Evaluator"], depths["ImageExampleGen"]) == (0, 1, 2)
    assert {r.run_id for r in found.chain} == {"run-b"}


def test_another_image_size_is_named_as_in_the_config(cached: Cached) -> None:
    def properties(side: int) -> dict[str, Any]:
        config = {"image_size": [side, side], "resize": "crop", "code_digest": "c"}
        return {
            "Transform": {"custom_config": config},
            "ArrayGen": {"image_size": [side, side], "code_digest": "d"},
        }

    first = cached.run("run-a", properties=properties(32))
    reused = dict.fromkeys(DATA[:-2], first)
    cached.run("run-b", reused=reused, properties=properties(48))
    for component in ("Transform", "ArrayGen", "Trainer"):
        found = cached.ask("run-b", component)
        assert {r.key.partition("[")[0] for r in found.root_causes} == {"transform.image_size"}
        assert "transform.image_size[0] changed from 32 to 48" in found.summary


def test_an_input_from_the_cache_is_explained_where_it_was_made(cached: Cached) -> None:
    """The Trainer of run-c takes run-b's data; against run-a's, the data changed."""
    data = {"ImageExampleGen": {"input_fingerprint": "1" * 64}}
    cached.run("run-a", properties={**data, **trainer(epochs=2)})
    data = {"ImageExampleGen": {"input_fingerprint": "2" * 64}}
    second = cached.run("run-b", properties=data, fails="Trainer")
    cached.run("run-c", reused=dict.fromkeys(DATA, second), properties=trainer(epochs=2))
    found = cached.ask("run-c", "Trainer")
    assert found.compared_with is not None and found.compared_with.run_id == "run-a"
    assert [(r.component, r.key) for r in found.root_causes] == [
        ("ImageExampleGen", "input_fingerprint")
    ]
    assert {r.run_id for r in found.chain if r.component == "ImageExampleGen"} == {"run-b"}


def test_nearest_has_the_fewest_differences_and_then_is_the_latest(cached: Cached) -> None:
    first = cached.run("run-a", properties=trainer(epochs=20, seed=1))
    data = dict.fromkeys(DATA, first)
    cached.run("run-b", reused=data, properties=trainer(epochs=20, seed=2))
    cached.run("run-c", reused=data, properties=trainer(epochs=7, seed=7))
    cached.run("run-d", reused=data, properties=trainer(epochs=20, seed=3))
    found = cached.ask("run-d", "Trainer")
    assert found.compared_with is not None and found.compared_with.run_id == "run-b"
    assert [r.key for r in found.root_causes] == ["train.seed"]


def test_another_baseline_counts_only_where_it_is_alone(cached: Cached) -> None:
    pushed = cached.run("run-0", pipeline="other", version=1)
    first = cached.run("run-a", version=2)
    reused = dict.fromkeys((*DATA, "Trainer"), first)
    cached.run("run-b", reused=reused, baseline=pushed.artifacts["Trainer.model"], version=3)
    alone = cached.ask("run-b", "Evaluator")
    assert alone.summary == (
        "Evaluator was executed because the model to compare with is digits-keras@1, and was none."
    )
    third = cached.run("run-c", reused=dict.fromkeys(DATA, first), properties=trainer(epochs=3))
    cached.run(
        "run-d",
        reused=dict.fromkeys(DATA, first),
        properties=trainer(epochs=4),
        baseline=third.artifacts["Trainer.model"],
    )
    assert [r.key for r in cached.ask("run-d", "Evaluator").root_causes] == ["train.epochs"]


def test_version_of_a_push_follows_from_its_model(cached: Cached) -> None:
    def properties(epochs: int, version: int) -> dict[str, Any]:
        return {**trainer(epochs=epochs), "Pusher": {"version": version, "name": "digits"}}

    first = cached.run("run-a", properties=properties(20, 1))
    data = dict.fromkeys(DATA, first)
    second = cached.run("run-b", reused=data, properties=properties(1, 2))
    assert [r.key for r in cached.ask("run-b", "Pusher").root_causes] == ["train.epochs"]
    reused = dict.fromkeys((*DATA, "Trainer", "Evaluator"), second)
    cached.run("run-c", reused=reused, properties={"Pusher": {"version": 3, "name": "digits"}})
    found = cached.ask("run-c", "Pusher")
    assert [r.key for r in found.root_causes] == ["version"]
    assert "newest version in the serving folder was not this model" in found.summary


def test_thresholds_are_named_as_in_the_config(cached: Cached) -> None:
    def config(bar: float) -> dict[str, Any]:
        return {"config": {"evaluate": {"min_accuracy": bar, "slices": []}}}

    first = cached.run(
        "run-a", run_properties=config(0.5), properties={"Evaluator": {"eval_config": "long a"}}
    )
    cached.run(
        "run-b",
        reused=dict.fromkeys((*DATA, "Trainer"), first),
        run_properties=config(0.9),
        properties={"Evaluator": {"eval_config": "long b"}},
    )
    found = cached.ask("run-b", "Evaluator")
    assert "evaluate.min_accuracy changed from 0.5 to 0.9" in found.summary


def _same_key_again(cached: Cached, **more: Any) -> tuple[BuiltRun, BuiltRun]:
    properties = {"Trainer": key("k1", parameters={"config": "{}"})}
    first = cached.run("run-a", properties=properties, **more)
    again = cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=properties)
    return first, again


def test_deleted_outputs(cached: Cached) -> None:
    properties = {"Trainer": key("k1")}
    first = cached.run("run-a", properties=properties)
    (model,) = cached.builder.store.get_artifacts_by_id([first.artifacts["Trainer.model"]])
    model.state = mlmd.Artifact.DELETED
    cached.builder.store.put_artifacts([model])
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=properties)
    found = cached.ask("run-b", "Trainer")
    assert [r.kind for r in found.root_causes] == ["unusable"]
    assert f"output model (artifact {model.id}) is DELETED" in found.summary


def test_missing_files(tmp_path: Path) -> None:
    cached = Cached(tmp_path, files=True)
    first, _ = _same_key_again(cached)
    (model,) = cached.builder.store.get_artifacts_by_id([first.artifacts["Trainer.model"]])
    found = cached.ask("run-b", "Trainer")
    assert "whether they were then is not recorded" in found.summary
    shutil.rmtree(model.uri)
    found = cached.ask("run-b", "Trainer")
    assert f"output model (artifact {model.id}) is not at {model.uri}" in found.summary


def test_what_failed_before_is_not_reused(cached: Cached) -> None:
    cached.run("run-0")
    first, _ = _same_key_again(cached, fails="Trainer")
    found = cached.ask("run-b", "Trainer")
    place = f"execution {first.executions['Trainer']} of run run-a"
    assert found.summary == (
        f"Trainer was executed because the earlier execution with the same key ({place}) failed."
    )


def test_failed_before_the_cache_was_looked_at(cached: Cached) -> None:
    cached.run("run-a")
    properties = {"ImageExampleGen": {"error": "No folder /photos. Create it."}}
    cached.run("run-b", fails="ImageExampleGen", properties=properties)
    found = cached.ask("run-b", "ImageExampleGen")
    assert [r.kind for r in found.root_causes] == ["before"]
    assert "No folder /photos." in found.summary


def test_disabled_cache(cached: Cached) -> None:
    properties = {"Trainer": key("k1", enabled=False)}
    first = cached.run("run-a", properties=properties)
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=properties)
    assert cached.ask("run-b", "Trainer").summary == (
        "Trainer was executed because the cache was disabled for it."
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"tfx_version": "1.21.0"}, {"tfx_version": "1.22.0"}, "TFX changed from 1.21.0 to 1.22.0"),
        ({"executor": "a.Do"}, {"executor": "b.Do"}, "its executor changed from a.Do to b.Do"),
        ({"node": "1"}, {"node": "2"}, "its definition in the pipeline changed"),
        (
            {"inputs": {"examples": [[5, "aa"]]}},
            {"inputs": {"examples": [[5, "bb"]]}},
            "the record of its input examples (artifact 5) was changed in ML Metadata",
        ),
        ({"parameters": {"x": "1"}}, {"parameters": {}}, "x was 1 and is no longer set"),
        ({"parameters": {}}, {"parameters": {"x": "1"}}, "x was not set and is 1"),
        (
            {"inputs": {"schema": []}},
            {"inputs": {"schema": [[7, "aa"]]}},
            "its input schema is new: artifact 7",
        ),
        ({}, {}, "its key changed in something that is not recorded"),
    ],
)
def test_recorded_parts(
    cached: Cached, before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    first = cached.run("run-a", properties={"Trainer": key("k1", **before)})
    properties = {"Trainer": key("k2", **after)}
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=properties)
    found = cached.ask("run-b", "Trainer")
    assert said in found.summary and found.exact
    assert found.cache_key == "k2"


@pytest.mark.parametrize("parts", ["", "{", "[]", "7", '{"inputs": [1]}', '{"inputs": {"a": 1}}'])
def test_parts_that_are_not_ours(cached: Cached, parts: str) -> None:
    first = cached.run(
        "run-a", properties={"Trainer": {"x": "1", name_of(Step.cache_parts): parts}}
    )
    again = {"Trainer": {"x": "2", name_of(Step.cache_parts): parts}}
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=again)
    found = cached.ask("run-b", "Trainer")
    assert [r.key for r in found.root_causes] == ["x"] and not found.exact


def test_foreign_stores_know_keys_from_contexts(cached: Cached) -> None:
    """TFX alone writes the key as a context, and no run on the execution."""
    cached.builder.run("run-a", record_run=False)
    cached.builder.run("run-b", record_run=False)
    found = cached.ask("run-b", "Trainer")
    assert found.outcome == "miss" and found.cache_key is None and not found.exact
    for run in ("run-a", "run-b"):
        context = cached.builder.context("execution_cache", "k1", {})
        (cache,) = cached.builder.store.get_contexts_by_id([context])
        connection = open_reader(Connection.parse(str(cached.path)))
        id_ = explain_cache(connection, run, "Transform").execution_id
        connection.close()
        association = mlmd.Association(context_id=cache.id, execution_id=id_)
        cached.builder.store.put_attributions_and_associations([], [association])
    found = cached.ask("run-b", "Transform")
    assert found.cache_key == "k1"
    assert [r.kind for r in found.root_causes] == ["unusable"], "the key was the same"


def test_names_that_are_not_there(cached: Cached) -> None:
    cached.run("run-a")
    cached.run("run-b", fails="Transform")
    with pytest.raises(NotFoundError, match=r"No component 'Trianer'.*Did you mean 'Trainer'"):
        cached.ask("run-a", "Trianer")
    with pytest.raises(NotFoundError, match=r"Pusher did not run in run-b\. These did: Image"):
        cached.ask("run-b", "pusher")
    with pytest.raises(NotFoundError, match="Nothing is known as 'run-z'"):
        cached.ask("run-z", "Trainer")


def test_resolvers_are_never_cached(cached: Cached) -> None:
    built = cached.run("run-a")
    resolver = mlmd.Execution(
        type_id=cached.builder.type("execution", "tfx.dsl.components.common.resolver.Resolver"),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    contexts = cached.builder.store.get_contexts_by_id([built.context_id])
    cached.builder.store.put_execution(resolver, [], contexts)
    assert cached.ask("run-a", "Resolver").outcome == "never"


def test_command_line(cached: Cached) -> None:
    first = cached.run("run-a", properties=trainer(epochs=20))
    cached.run("run-b", reused=dict.fromkeys(DATA, first), properties=trainer(epochs=1))
    args = ["lineage", "explain-cache", "run-b", "evaluator", "--metadata", str(cached.path)]
    told = CliRunner().invoke(app, args)
    assert told.exit_code == 0
    first_line, *rest = told.stdout.splitlines()
    assert first_line == (
        "miss\tEvaluator was executed because in Trainer, train.epochs changed from 20 to 1."
    )
    assert "  Trainer: train.epochs changed from 20 to 1" in rest
    answer = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert answer["format"] == "visionline.lineage.explain-cache/1"
    assert answer["root_causes"][0]["key"] == "train.epochs"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(before=st.dictionaries(st.text(max_size=3), JSON), after=st.data())
def test_differences_are_found_exactly_where_there_are_some(
    before: dict[str, Any], after: st.DataObject
) -> None:
    other = after.draw(st.just(before) | st.dictionaries(st.text(max_size=3), JSON))
    texts = [json.dumps(value, sort_keys=True) for value in (before, other)]
    old, new = (
        Parts(
            key=None,
            enabled=True,
            parameters={"config": text},
            inputs={},
            executor=None,
            node=None,
            tfx_version=None,
            recorded=True,
        )
        for text in texts
    )
    found = differences(old, new)
    assert bool(found) == (texts[0] != texts[1])
    assert all(d.before != d.after or d.key == "config" for d in found)
