"""Pusher on its own: what it pushes again, what it does not, and what it removes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pusher_pipeline import Pipeline

from common.files import read_json
from components import details
from components.pusher import PUSH
from modelstore.artifact import SERVING_FORMAT
from modelstore.in_use import hold
from modelstore.labels import Labels, write_labels
from modelstore.rollback import roll_back
from modelstore.versions import list_versions


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    details.take()
    return Pipeline(tmp_path)


def test_a_repeated_push_serves_what_is_served(pipeline: Pipeline) -> None:
    assert pipeline.push("good")[0] == 1
    driven, recorded = pipeline.push("good")
    assert (driven, recorded["pushed_version"], recorded["pushed"]) == (1, 1, 1)
    assert list_versions(pipeline.folder) == [1]
    assert pipeline.push("newer")[1]["pushed_version"] == 2


def test_a_run_repeated_after_a_rollback_does_not_push_the_bad_model_again(
    pipeline: Pipeline,
) -> None:
    pipeline.push("good")
    pipeline.push("bad")
    roll_back(pipeline.folder)
    details.take()
    for _ in range(2):  # the version is the same each time, so the second one is cached
        driven, recorded = pipeline.push("bad")
        assert driven == 3
        assert (recorded["pushed"], recorded["withdrawn_by"]) == (0, 3)
        assert "pushed_version" not in recorded
        why_not = "version 3 was made to roll back from this model"
        assert recorded["why_not_pushed"] == why_not
        assert details.take() == {"pushed": 0, "withdrawn_by": 3, "why_not_pushed": why_not}
    assert list_versions(pipeline.folder) == [1, 2, 3]
    assert pipeline.push("good")[1]["pushed_version"] == 3, "it is what version 3 holds"
    assert pipeline.push("trained anew")[1]["pushed_version"] == 4
    assert pipeline.push("bad")[1]["pushed"] == 0
    roll_back(pipeline.folder, 2)
    driven, recorded = pipeline.push("bad")
    assert (driven, recorded["pushed"], recorded["pushed_version"]) == (5, 1, 5)


def test_old_versions_are_removed_after_a_push(pipeline: Pipeline) -> None:
    for name in ("one", "two", "three"):
        pipeline.push(name)
    assert list_versions(pipeline.folder) == [1, 2, 3]
    write_labels(pipeline.folder, Labels(versions={"stable": 1}))
    with hold(pipeline.folder / "2"):
        pipeline.push("four", keep=1)
        assert list_versions(pipeline.folder) == [1, 2, 4]
    assert details.take()["removed_versions"] == "3"
    pipeline.push("five", keep=2)
    assert list_versions(pipeline.folder) == [1, 4, 5]


def test_a_push_is_done_even_if_nothing_can_be_removed(pipeline: Pipeline) -> None:
    pipeline.push("one")
    (pipeline.folder / "labels.json").write_text("{")
    assert pipeline.push("two", keep=1)[1]["pushed"] == 1
    assert list_versions(pipeline.folder) == [1, 2]


def test_a_new_model_is_pushed_though_its_place_had_another_before(pipeline: Pipeline) -> None:
    """As after the output folder was removed, and its serving folder was not."""
    pipeline.push("one")
    (pipeline.root / "artifacts" / "one" / SERVING_FORMAT / "saved_model.pb").write_text("new")
    assert pipeline.push("one")[1]["pushed_version"] == 2


def test_a_model_that_was_moved_is_the_one_that_is_served(pipeline: Pipeline) -> None:
    pipeline.push("one")
    artifacts = pipeline.root / "artifacts"
    (artifacts / "one").rename(artifacts / "moved")
    assert pipeline.push("moved")[1]["pushed_version"] == 1
    assert list_versions(pipeline.folder) == [1]


def test_what_came_of_it_is_printed_and_left_in_the_artifact(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """Object stores keep no folder without a file."""
    told = pipeline.root / "artifacts" / "pushed" / PUSH
    _, recorded = pipeline.push("good")
    version = pipeline.folder / "1"
    assert capsys.readouterr().out == f"Pushed m version 1 to {version}.\n"
    assert recorded["already_served"] == 0 and "why_not_pushed" not in recorded
    assert read_json(told)["pushed"] and not read_json(told)["already_served"]
    _, recorded = pipeline.push("good")
    assert recorded["already_served"] == recorded["pushed"] == 1
    assert capsys.readouterr().out == (
        f"Nothing new to push: m version 1 is the same model ({version}).\n"
    )
    assert read_json(told) == {
        "pushed": True,
        "name": "m",
        "version": 1,
        "destination": str(version),
        "already_served": True,
    }
    _, recorded = pipeline.push("bad", blessed=0)
    assert (recorded["pushed"], recorded["why_not_pushed"]) == (0, "the Evaluator did not bless it")
    assert capsys.readouterr().out == "m is not pushed: the Evaluator did not bless it\n"
    assert read_json(told) == {
        "pushed": False,
        "name": "m",
        "why_not": ["the Evaluator did not bless it"],
    }
    assert list_versions(pipeline.folder) == [1]
