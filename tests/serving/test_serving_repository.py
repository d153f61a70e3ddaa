"""Which versions answer, whatever happens to the serving folder; with fake versions."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from capabilities import bound_by_modes
from helpers import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from repository_fakes import CONTENT, Folder, watched

from common.errors import DataError
from modelstore.artifact import MANIFEST
from modelstore.labels import FILE
from modelstore.retention import prune
from modelstore.versions import LARGEST
from serving.config import ModelConfig
from serving.errors import LoadError, UnavailableError, UnknownModelError
from serving.models.served import Slot

pytestmark = pytest.mark.quick


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    folder.serving.mkdir()
    yield folder
    folder.loads.go_on.set()
    folder.repository.close()
    # A load that is under way is not waited for by `close`, and goes when it ends.
    wait_until(
        lambda: all(
            s.state == "END" for m in folder.repository.models().values() for s in m.values()
        ),
        30,
    )
    assert folder.loads.errors == []


def policy(value: Any) -> dict[str, Any]:
    return {"default": ModelConfig(policy=value)}


def test_a_new_version_takes_over_and_the_old_one_goes(folder: Folder) -> None:
    assert not folder.repository.ready
    folder.push("m")
    folder.see("m", 1)
    assert folder.repository.ready and folder.answer("m") == 1
    folder.push("m")
    folder.see("m", 2)
    assert folder.answer("m") == 2
    assert folder.loads.closed == [("m", 1)]
    with pytest.raises(UnknownModelError, match=r"no version 1 loaded\. Available: 2"):
        folder.answer("m", 1)
    with pytest.raises(UnknownModelError, match="Did you mean 'm'"):
        folder.answer("M")


def test_the_old_version_answers_until_the_new_one_is_loaded(folder: Folder) -> None:
    folder.push("m")
    folder.see("m", 1)
    folder.loads.slow.add("m")
    folder.push("m")
    folder.repository._look()
    wait_until(lambda: folder.states("m") == {1: "AVAILABLE", 2: "LOADING"})
    assert folder.answer("m") == 1
    with pytest.raises(UnavailableError, match="version 2 is being loaded"):
        folder.answer("m", 2)
    folder.loads.go_on.set()
    folder.see("m", 2)


def test_a_version_in_use_is_closed_after_its_last_request(folder: Folder) -> None:
    folder.push("m")
    folder.see("m", 1)
    with folder.repository.use("m") as first, folder.repository.use("m"):
        folder.push("m")
        folder.repository.refresh()
        assert folder.states("m") == {1: "UNLOADING", 2: "AVAILABLE"}
        assert not first.is_closed and folder.answer("m") == 2
    folder.see("m", 2)
    assert first.is_closed


def test_a_drain_ends_after_its_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path, drain_seconds=0.05)
    folder.push("m")
    folder.see("m", 1)
    with folder.repository.use("m") as stuck:
        folder.push("m")
        folder.see("m", 2)
        assert stuck.is_closed
    folder.repository.close()


def test_a_broken_version_does_not_replace_a_good_one_and_says_why(folder: Folder) -> None:
    folder.push("m")
    folder.push("m", "broken")
    folder.see("m", 1)
    assert folder.answer("m") == 1
    (broken,) = folder.repository.slots("m", 2)
    assert (broken.state, broken.error) == ("END", "it is broken")
    with pytest.raises(UnavailableError, match="version 2: it is broken"):
        folder.answer("m", 2)
    attempts = [e for e in folder.events if e[0] == "failed"]
    for _ in range(5):
        folder.repository.refresh()
    assert (
        [e for e in folder.events if e[0] == "failed"]
        == attempts
        == [("failed", "m", 2, "it is broken")]
    )


@pytest.mark.parametrize("how", ["content", "touched", "pushed again", "V2 load"])
def test_a_broken_version_is_tried_again(folder: Folder, how: str) -> None:
    folder.push("m")
    folder.see("m", 1)
    folder.push("m", "broken")
    folder.see("m", 1)
    if how == "content":
        folder.write("m", 2, "good")
        folder.see("m", 2)
    elif how == "touched":
        os.utime(folder.serving / "m" / "2" / CONTENT, (1, 1))
        folder.see("m", 1)
        assert len([e for e in folder.events if e[0] == "failed"]) == 2
    elif how == "pushed again":
        assert folder.push("m") == 3
        folder.see("m", 3)
    else:
        with pytest.raises(LoadError, match=r"m: version 2: it is broken Version 1 answers\."):
            folder.repository.load("m")
        assert len([e for e in folder.events if e[0] == "failed"]) == 2


def test_with_the_latest_broken_the_one_before_is_loaded_also_at_the_start(folder: Folder) -> None:
    for content in ("broken", "good", "good", "broken", "broken"):
        folder.push("m", content)
    folder.see("m", 3)
    assert folder.answer("m") == 3 and folder.repository.ready
    assert set(folder.states("m")) == {3, 4, 5}


@pytest.mark.parametrize(
    ("wanted", "loaded", "default"),
    [("latest", [4], 4), ("all", [1, 2, 4], 4), ((2, 1), [1, 2], 2), ((2, 9), [2], 2)],
)
def test_policies(tmp_path: Path, wanted: Any, loaded: list[int], default: int) -> None:
    with watched(Folder(tmp_path, **policy(wanted))) as folder:
        for content in ("good", "good", "broken", "good"):
            folder.push("m", content)
        wait_until(lambda: folder.available("m") == loaded and not folder.loads.under_way)
        assert folder.answer("m") == default
        assert [folder.answer("m", v) for v in loaded] == loaded


def test_a_policy_that_asks_for_what_is_not_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path, models={"m": ModelConfig(policy=(7,))})
    folder.push("m")
    folder.push("other")
    folder.repository.refresh()
    with pytest.raises(UnavailableError, match="none of those that are wanted is in the folder"):
        folder.answer("m")
    assert folder.answer("other") == 1
    folder.repository.close()


def test_labels_are_loaded_and_followed_while_it_runs(folder: Folder) -> None:
    for _ in range(4):
        folder.push("m")
    folder.see("m", 4)
    folder.label("m", stable=2, canary=4)
    folder.see("m", 2, 4)
    assert (folder.answer("m", label="stable"), folder.answer("m", label="canary")) == (2, 4)
    assert folder.answer("m") == 4
    folder.label("m", stable=3)
    folder.see("m", 3, 4)
    assert folder.answer("m", label="stable") == 3
    with pytest.raises(UnknownModelError, match=r"no label 'canary'"):
        folder.answer("m", label="canary")
    assert [s.version for s in folder.repository.slots("m", label="stable")] == [3]
    (folder.serving / "m" / FILE).unlink()
    folder.see("m", 4)


def test_a_label_that_moves_answers_all_the_while(folder: Folder) -> None:
    for _ in range(3):
        folder.push("m")
    folder.label("m", stable=1)
    folder.see("m", 1, 3)
    folder.loads.slow.add("m")
    folder.label("m", stable=2)
    folder.repository._look()
    wait_until(lambda: ("m", 2) in folder.loads.under_way)
    assert folder.answer("m", label="stable") == 1
    assert folder.repository._known("m").labels.versions == {"stable": 1}
    folder.loads.go_on.set()
    folder.see("m", 2, 3)
    assert folder.answer("m", label="stable") == 2
    folder.write("m", 1, "broken")
    folder.label("m", stable=1)
    folder.see("m", 2, 3)
    assert folder.answer("m", label="stable") == 2


def test_labels_share_the_traffic_among_those_that_are_available(folder: Folder) -> None:
    for content in ("good", "good", "broken"):
        folder.push("m", content)
    weights = {"stable": 75.0, "canary": 25.0, "broken": 900.0}
    folder.label("m", weights, stable=1, canary=2, broken=3)
    folder.see("m", 1, 2)
    folder.repository._random.seed(0)
    drawn = [folder.answer("m") for _ in range(2000)]
    assert drawn.count(1) + drawn.count(2) == 2000
    assert 1400 < drawn.count(1) < 1600


@pytest.mark.parametrize("text", ["{", "[]", '{"versions": {"a": "b"}}', '{"weights": {"a": 1}}'])
def test_labels_that_cannot_be_read_leave_those_that_were(folder: Folder, text: str) -> None:
    folder.push("m")
    folder.push("m")
    folder.label("m", stable=1)
    folder.see("m", 1, 2)
    (folder.serving / "m" / FILE).write_text(text)
    for _ in range(3):
        folder.see("m", 1, 2)
    assert folder.answer("m", label="stable") == 1
    assert [e[:3] for e in folder.events if e[0] == "labels"] == [("labels", "m", 0)]


def test_what_vanishes_goes_on_answering_until_something_else_can(folder: Folder) -> None:
    folder.push("m")
    folder.push("m")
    folder.see("m", 2)
    folder.remove("m", 1)
    folder.remove("m", 2)
    folder.see("m", 2)
    shutil.rmtree(folder.serving / "m")
    folder.see("m", 2)
    shutil.rmtree(folder.serving)
    folder.see("m", 2)
    assert folder.answer("m") == 2 and folder.repository.ready
    assert [e[0] for e in folder.events if e[0] == "folder"] == ["folder"]
    folder.repository.unload("m")
    folder.push("other")
    folder.see("other", 1)
    folder.repository.refresh()
    assert list(folder.repository.models()) == ["other"]


def test_the_version_before_takes_over_from_one_that_is_removed(folder: Folder) -> None:
    folder.push("m")
    folder.push("m")
    folder.see("m", 2)
    folder.remove("m", 2)
    folder.see("m", 1)
    assert folder.answer("m") == 1


def test_folders_and_models_that_appear_later(tmp_path: Path) -> None:
    with watched(Folder(tmp_path / "later")) as folder:
        wait_until(lambda: folder.repository.scanned)
        assert not folder.repository.ready and folder.repository.models() == {}
        folder.push("a")
        wait_until(lambda: folder.repository.ready)
        folder.push("b")
        wait_until(lambda: folder.available("b") == [1])
        assert folder.answer("a") == folder.answer("b") == 1


def test_what_is_no_model_is_passed_over(folder: Folder) -> None:
    (folder.serving / "notes").mkdir()
    (folder.serving / "notes" / "text").write_text("")
    (folder.serving / "file").write_text("")
    (folder.serving / ".hidden" / "1").mkdir(parents=True)
    (folder.serving / "half" / ".partial-1").mkdir(parents=True)
    (folder.serving / "m" / ".partial-9").mkdir(parents=True)
    folder.push("m")
    folder.see("m", 1)
    assert list(folder.repository.models()) == ["m"]
    assert folder.loads.loaded == [("m", 1)]


def test_a_model_that_is_broken_from_the_start_does_not_keep_the_others(folder: Folder) -> None:
    folder.push("good")
    folder.push("bad", "broken")
    folder.repository.refresh()
    assert folder.repository.ready
    with pytest.raises(
        UnavailableError, match="No version of bad answers: version 1: it is broken"
    ):
        folder.answer("bad")


def test_readiness_waits_for_every_model_at_first(folder: Folder) -> None:
    folder.push("quick")
    folder.push("slow")
    folder.loads.slow.add("slow")
    folder.repository._look()
    wait_until(lambda: folder.available("quick") == [1])
    assert not folder.repository.ready
    folder.loads.go_on.set()
    folder.repository.refresh()
    assert folder.repository.ready
    folder.loads.go_on.clear()
    folder.push("quick")
    folder.loads.slow.add("quick")
    folder.repository._look()
    assert folder.repository.ready


def test_a_slow_load_does_not_hold_up_other_models(folder: Folder) -> None:
    folder.loads.slow.add("slow")
    folder.push("slow")
    folder.push("m")
    with watched(folder):
        wait_until(lambda: folder.available("m") == [1])
        folder.push("m")
        wait_until(lambda: folder.available("m") == [2] and folder.loads.closed == [("m", 1)])
        folder.repository.unload("m")
        assert folder.available("m") == []
        folder.repository.load("m")
        assert folder.available("m") == [2]
        assert folder.states("slow") == {1: "LOADING"}


def test_a_drain_does_not_hold_up_loads(folder: Folder) -> None:
    folder.push("m")
    folder.push("other")
    with watched(folder):
        wait_until(lambda: folder.available("m") == folder.available("other") == [1])
        with folder.repository.use("m"):
            folder.push("m")
            wait_until(lambda: folder.states("m") == {1: "UNLOADING", 2: "AVAILABLE"})
            folder.push("m")
            folder.push("other")
            wait_until(lambda: folder.available("m") == [3] and folder.available("other") == [2])
            assert folder.states("m")[1] == "UNLOADING"


def test_unloaded_by_request_until_loaded_by_request(folder: Folder) -> None:
    folder.push("m")
    folder.push("m")
    folder.label("m", stable=1)
    folder.see("m", 1, 2)
    folder.repository.unload("m", "ann")
    assert sorted(folder.loads.closed) == [("m", 1), ("m", 2)]
    folder.see("m")
    assert folder.states("m") == {1: "END", 2: "END"}
    for version in (None, 1, 2):
        with pytest.raises(UnavailableError, match="unloaded by request of ann"):
            folder.answer("m", version)
    with pytest.raises(UnavailableError, match="unloaded by request of ann"):
        folder.answer("m", label="stable")
    wait_until(lambda: sum(e[0] == "unloaded" for e in folder.events) == 2, 10)
    reasons = [e[2:] for e in folder.events if e[0] == "unloaded"]
    assert sorted(reasons) == [(v, "unloaded by request of ann") for v in (1, 2)]
    folder.repository.load("m")
    assert folder.available("m") == [1, 2]
    for call in (folder.repository.load, folder.repository.unload):
        with pytest.raises(UnknownModelError, match="No model 'none'"):
            call("none")


def test_a_push_after_an_unload_is_loaded_and_nothing_older(folder: Folder) -> None:
    folder.push("m")
    folder.push("m")
    folder.label("m", stable=1)
    folder.see("m", 1, 2)
    folder.push("m")  # not seen yet, and there: it was not pushed after the unload
    folder.repository.unload("m")
    folder.see("m")
    folder.push("m", "broken")
    folder.see("m")
    with pytest.raises(UnavailableError, match="version 4: it is broken; unloaded by request"):
        folder.answer("m")
    folder.push("m")
    folder.see("m", 5)
    assert folder.answer("m") == 5
    with pytest.raises(UnavailableError, match="unloaded by request"):
        folder.answer("m", label="stable")
    folder.remove("m", 5)
    folder.see("m", 5)
    with pytest.raises(LoadError, match="version 4: it is broken"):
        folder.repository.load("m")
    assert folder.available("m") == [1, 3]


def test_an_unload_outlives_a_folder_that_is_gone_for_a_while(folder: Folder) -> None:
    folder.push("m")
    folder.push("other")
    folder.see("m", 1)
    folder.repository.unload("m")
    (folder.serving / "m").rename(folder.root / "m")
    folder.repository.refresh()
    assert list(folder.repository.models()) == ["other"] and "m" not in folder.repository
    with pytest.raises(UnknownModelError):
        folder.answer("m")
    (folder.root / "m").rename(folder.serving / "m")
    folder.see("m")
    assert folder.repository.readiness().lines == ("m: unloaded by request of someone",)
    folder.push("m")
    folder.see("m", 2)


ODD = ["9223372036854775808", "0", "007", "+1", "-1", "²", "١", "1" * 200, "1_0", "1.0"]


@pytest.mark.parametrize("name", ODD)
def test_folders_whose_names_are_no_versions_are_passed_over_with_a_word(
    folder: Folder, name: str
) -> None:
    folder.push("m")
    (folder.serving / "m" / name).mkdir()
    (folder.serving / "alone" / name).mkdir(parents=True)
    (folder.serving / "m" / "notes").mkdir()
    for _ in range(3):
        folder.see("m", 1)
    assert folder.repository.ready and list(folder.repository.models()) == ["m"]
    told = {e[1]: e[3] for e in folder.events if e[0] == "folder"}
    assert told.keys() == {"m", "alone"} and told["m"].startswith(f"{name}: no version")
    assert len([e for e in folder.events if e[0] == "folder"]) == 2, "once, not at each look"
    assert any(line.startswith(f"alone: {name}") for line in folder.repository.readiness().lines)
    with pytest.raises(LoadError, match="no version"):
        folder.repository.load("alone")


def test_the_largest_version_is_served_and_nothing_is_pushed_after_it(folder: Folder) -> None:
    folder.push("m")
    (folder.serving / "m" / "1").rename(folder.serving / "m" / str(LARGEST))
    folder.see("m", LARGEST)
    assert folder.answer("m", LARGEST) == LARGEST
    with pytest.raises(DataError, match="after which there is none"):
        folder.push("m")


def words(folder: Folder) -> tuple[str, str]:
    folder.repository.refresh()
    found = folder.repository.readiness()
    return found.word, "\n".join(found.lines)


def test_readiness_says_what_it_waits_for(folder: Folder) -> None:
    assert folder.repository.readiness().word == "loading"
    folder.serving.rmdir()
    assert words(folder)[0] == "failed" and "cannot be read" in words(folder)[1]
    folder.serving.mkdir()
    assert words(folder) == (
        "waiting",
        f"Nothing to serve in {folder.serving} yet; the next push to {folder.serving}/NAME/VERSION/"
        " is loaded.",
    )
    folder.push("m", "broken")
    assert words(folder) == ("failed", "m 1: failed: it is broken")
    folder.push("m")
    folder.remove("m", 1)
    assert words(folder) == ("ready", "")
    folder.repository.unload("m", "ann")
    assert words(folder) == ("unloaded", "m 2: unloaded by request of ann")
    folder.loads.slow.add("m")
    folder.push("m")
    folder.repository._look()
    assert folder.repository.readiness().word == "loading"
    folder.loads.go_on.set()
    assert words(folder) == ("ready", "m 2: unloaded by request of ann")
    folder.serving.rename(folder.root / "elsewhere")
    assert words(folder)[0] == "ready" and "cannot be read" in words(folder)[1]


def test_a_model_that_cannot_be_read_does_not_hide_the_others(folder: Folder) -> None:
    folder.push("m")
    folder.push("other")
    (folder.serving / "other").chmod(0)
    try:
        with bound_by_modes():
            folder.see("m", 1)
            assert "other: " in words(folder)[1] and "Permission denied" in words(folder)[1]
    finally:
        (folder.serving / "other").chmod(0o755)
    folder.see("other", 1)


def test_unloading_while_it_is_loaded(folder: Folder) -> None:
    folder.push("m")
    folder.loads.slow.add("m")
    folder.repository._look()
    wait_until(lambda: folder.loads.under_way == [("m", 1)])
    folder.repository.unload("m")
    folder.loads.go_on.set()
    wait_until(lambda: folder.loads.closed == [("m", 1)])
    assert folder.available("m") == []


def test_what_waits_to_be_loaded_and_is_not_wanted_any_more_is_not_loaded(folder: Folder) -> None:
    folder.loads.slow |= {"a", "b"}
    folder.push("a")
    folder.push("b")
    folder.repository._look()
    wait_until(lambda: len(folder.loads.under_way) == 2)
    for _ in range(3):
        folder.push("m")
        folder.repository._look()
    folder.loads.go_on.set()
    folder.see("m", 3)
    assert ("m", 1) not in folder.loads.loaded and ("m", 2) not in folder.loads.loaded


def test_closing_during_a_load(tmp_path: Path) -> None:
    folder = Folder(tmp_path, drain_seconds=60)
    folder.push("m")
    folder.push("other")
    folder.loads.slow.add("m")
    folder.repository.start()
    wait_until(lambda: folder.available("other") == [1] and bool(folder.loads.under_way))
    began = time.monotonic()
    folder.repository.close()
    assert time.monotonic() - began < 30
    assert folder.loads.closed == [("other", 1)]
    with pytest.raises(UnavailableError, match="going down"):
        folder.answer("m")
    folder.loads.go_on.set()
    wait_until(lambda: ("m", 1) in folder.loads.closed)


def test_closing_twice_and_without_having_started(folder: Folder) -> None:
    folder.repository.close()
    folder.repository.close()


def test_many_models(folder: Folder) -> None:
    names = [f"m{i}" for i in range(60)]
    for name in names:
        folder.push(name)
    with watched(folder):
        wait_until(lambda: folder.repository.ready)
        assert [folder.answer(n) for n in names] == [1] * 60
        for name in names:
            folder.push(name)
        wait_until(lambda: all(folder.available(n) == [2] for n in names))


def test_loads_unloads_and_looks_at_once(folder: Folder) -> None:
    folder.push("m")
    folder.push("n")
    stop = time.monotonic() + 1
    failures = []

    def repeat(call: Any) -> None:
        while time.monotonic() < stop:
            try:
                call()
            except (LoadError, UnavailableError, UnknownModelError):
                pass
            except Exception as e:
                failures.append(e)

    repository = folder.repository
    repository.refresh()
    calls = [
        *(lambda: repository.load("m"), lambda: repository.unload("m")),
        *(repository.refresh, lambda: folder.push("m"), lambda: folder.answer("m")),
        *(lambda: prune(folder.serving / "m", 2), lambda: folder.answer("n") == 1 or 1 / 0),
    ]
    threads = [threading.Thread(target=repeat, args=(c,)) for c in calls]
    with watched(folder):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        repository.load("m")
        wait_until(lambda: folder.answer("m") == max(map(int, folder.available("m"))))
    assert failures == []


def test_files_are_locked_while_a_version_is_loaded(folder: Folder) -> None:
    folder.push("m")
    folder.push("m", "broken")
    folder.see("m", 1)

    def is_locked(version: int) -> bool:
        with open(folder.serving / "m" / str(version) / MANIFEST, "rb") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    assert is_locked(1) and not is_locked(2)
    folder.push("m")
    folder.see("m", 3)
    assert not is_locked(1) and is_locked(3)


NAMES = ["a", "b"]
EVENTS = st.one_of(
    st.tuples(
        st.sampled_from(["push", "push broken", "repair", "break", "remove"]),
        st.sampled_from(NAMES),
    ),
    st.tuples(st.sampled_from(["label", "unlabel", "use", "finish"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["load", "unload", "look", "prune"]), st.sampled_from(NAMES)),
)


class Model:
    """Plays events on a folder with its repository, and checks what must always hold."""

    def __init__(self, root: Path, wanted: Any) -> None:
        self.folder = Folder(root, **policy(wanted))
        self.folder.serving.mkdir()
        self.uses: list[Any] = []
        self.unloaded: dict[str, set[int]] = {}
        """Versions that were there when it was asked for, and not loaded by request since."""

    def play(self, event: str, name: str, number: int) -> None:
        folder, repository = self.folder, self.folder.repository
        versions = sorted(int(p.name) for p in (folder.serving / name).glob("[0-9]*"))
        chosen = versions[number % len(versions)] if versions else None
        if event.startswith("push"):
            folder.push(name, event.partition(" ")[2] or "good")
            if number % 2:
                repository.refresh()
        elif event == "look":
            repository.refresh()
        elif event in ("load", "unload"):
            try:
                getattr(repository, event)(name)
            except UnknownModelError:
                return
            except LoadError:
                pass
            if event == "unload":
                self.unloaded.setdefault(name, set()).update(versions)
            else:
                self.unloaded.pop(name, None)
        elif event == "use":
            self.start_using(name)
        elif event == "finish":
            self.finish()
        elif chosen is not None:
            self.change(event, name, chosen)

    def change(self, event: str, name: str, version: int) -> None:
        if event in ("repair", "break"):
            self.folder.write(name, version, {"repair": "good", "break": "broken"}[event])
        elif event == "remove":
            self.folder.remove(name, version)
        elif event == "label":
            self.folder.label(name, {"l": 1.0} if version % 2 else {}, l=version)
        elif event == "prune":
            loaded = self.folder.available(name)
            there = {v for v in loaded if (self.folder.serving / name / str(v)).exists()}
            prune(self.folder.serving / name, 1)
            assert all((self.folder.serving / name / str(v)).exists() for v in there)
        else:
            (self.folder.serving / name / FILE).unlink(missing_ok=True)

    def start_using(self, name: str) -> None:
        context = self.folder.repository.use(name)
        try:
            loaded = context.__enter__()
        except (UnknownModelError, UnavailableError):
            return
        loaded.users += 1
        self.uses.append((context, loaded))

    def finish(self) -> None:
        for context, loaded in self.uses:
            loaded.users -= 1
            context.__exit__(None, None, None)
        self.uses.clear()

    def check(self, good_before: dict[str, bool]) -> None:
        folder = self.folder
        assert folder.loads.errors == []
        for name, slots in folder.repository.models().items():
            with folder.repository._changed:
                for version, slot in slots.items():
                    self.check_slot(version, slot)
            if good_before.get(name):
                assert folder.answer(name) in folder.available(name)
            assert not self.unloaded.get(name, set()) & set(folder.available(name))

    def check_slot(self, version: int, slot: Slot) -> None:
        assert slot.version == version
        if slot.state == "AVAILABLE":
            assert slot.loaded is not None and not slot.error
        elif slot.state != "UNLOADING":  # that one is closed before it ends
            assert slot.loaded is None and slot.requests == 0
        assert slot.state == "END" or not slot.error


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(["latest", "all", (1, 3)]),
    st.lists(st.tuples(EVENTS, st.integers(0, 5)), max_size=25),
)
def test_whatever_happens_a_good_version_answers(wanted: Any, events: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as root:
        model = Model(Path(root), wanted)
        try:
            for (event, name), number in events:
                if event == "unload":
                    model.finish()  # it waits for them
                answered = {n: bool(model.folder.available(n)) for n in NAMES}
                if event == "unload":
                    answered[name] = False
                model.play(event, name, number)
                if event in ("load", "look"):
                    model.folder.repository.refresh()
                model.check(answered)
            model.finish()
            model.folder.repository.refresh()
            for name in NAMES:
                good = [
                    p
                    for p in (model.folder.serving / name).glob("[0-9]*/content")
                    if p.read_text() == "good"
                    and int(p.parent.name) not in model.unloaded.get(name, ())
                ]
                if good and wanted != (1, 3):
                    assert model.folder.answer(name)
        finally:
            model.finish()
            model.folder.repository.close()
        assert model.folder.loads.errors == []
