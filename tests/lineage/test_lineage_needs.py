"""What gc keeps and removes, on random graphs: with cycles, shared places, lost events."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_reader import MemoryReader

from common.record.kinds import PIN
from lineage.storage.gc import TRASH, plan
from lineage.storage.removal import remove_files
from lineage.store.records import Artifact, Context, Event, Execution

pytestmark = pytest.mark.quick

SETTINGS = settings(EXAMPLES, max_examples=80)
ROOT = "/ROOT"
"""Stands for the pipeline's root, which is another folder each time."""
URIS = [
    *(f"{ROOT}/Trainer/model/{n}" for n in range(1, 6)),
    *(f"{ROOT}/Trainer/model/1/{n}" for n in "ab"),
    *(f"{ROOT}/Trainer", f"{ROOT}/Trainer/model/10", f"{ROOT}/Trainer/model/1/"),
    *(f"file://{ROOT}/Trainer/model/2", f"{ROOT}/x/../Trainer/model/3"),
    *(f"{ROOT}/link", f"{ROOT}/linked/a", f"{ROOT}/out/kept", f"{ROOT}/never-made"),
    *(ROOT, f"{ROOT}/../outside/kept", "gs://bucket/model", "relative/path", ""),
]
IDS = st.integers(1, 9)
"""Of artifacts and executions; some are not there."""


@st.composite
def stores(draw: st.DrawFn) -> MemoryReader:
    store = MemoryReader()
    for id_ in range(1, draw(st.integers(1, 8)) + 1):
        kind = draw(st.sampled_from(["Model", "Examples", "ModelBlessing", "PushedModel"]))
        custom: dict[str, Any] = {}
        if kind == "PushedModel":
            custom = {"pushed": draw(st.integers(0, 1)), "model_id": draw(IDS)}
        if kind == "ModelBlessing":
            custom = {"blessed": draw(st.integers(0, 1))}
            if draw(st.booleans()):
                custom["current_model_id"] = draw(IDS)
        if draw(st.integers(0, 9)) == 0:
            custom["is_external"] = 1
        states = ["LIVE"] * 6 + ["DELETED", "PENDING", "ABANDONED", "MARKED_FOR_DELETION"]
        store.artifact[id_] = Artifact(
            **_node(id_, kind, custom),
            uri=draw(st.sampled_from(URIS)),
            state=draw(st.sampled_from(states)),
        )
    for id_ in range(1, draw(st.integers(0, 6)) + 1):
        states = ["COMPLETE"] * 5 + ["CACHED"] * 3 + ["FAILED", "RUNNING", "CANCELED"]
        store.execution[id_] = Execution(
            **_node(id_, "tfx.Some", {}), state=draw(st.sampled_from(states))
        )
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["input", "output"]))
        store.event.append(Event(draw(IDS), draw(IDS), kind, draw(st.just("key")), 0))  # type: ignore[arg-type]
    for id_ in range(1, draw(st.integers(0, 5)) + 1):
        custom = {}
        if draw(st.booleans()):
            custom["pipeline"] = draw(st.sampled_from("ab"))
        if draw(st.booleans()):
            custom["state"] = draw(st.sampled_from(["complete", "complete", "failed", "running"]))
        store.contexts_by_id[id_] = Context(**_node(id_, "pipeline_run", custom, f"run-{id_}"))
        store.association += [(id_, e) for e in draw(st.sets(IDS, max_size=3))]
    if draw(st.booleans()):
        store.contexts_by_id[20] = Context(**_node(20, "pipeline", {}, "a"))
        store.association += [(20, e) for e in draw(st.sets(IDS, max_size=6))]
    for number in draw(st.sets(IDS, max_size=2)):
        store.contexts_by_id[30 + number] = _pin(number, draw(st.integers(0, 1)))
    return store


def _node(id_: int, kind: str, custom: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    times = {"created": id_, "updated": id_}
    return {"id": id_, "type": kind, "name": name, **times, "properties": {}, "custom": custom}


def _pin(model: int, active: int = 1) -> Context:
    return Context(**_node(30 + model, PIN, {"active": active}, f"model-{model}"))


@contextmanager
def on_disk(store: MemoryReader) -> Iterator[tuple[MemoryReader, Path]]:
    """The store with a root of real folders, where the URIs lead."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder)) / "artifacts"
        for place in ("Trainer/model/1/a", "Trainer/model/1/b", "x"):
            (root / place).mkdir(parents=True)
        (root.parent / "outside" / "kept").mkdir(parents=True)
        (root / "link").symlink_to("Trainer/model/4")
        (root / "linked").symlink_to("Trainer/model/1")
        (root / "out").symlink_to(root.parent / "outside")
        moved = {
            i: replace(a, uri=a.uri.replace(ROOT, str(root))) for i, a in store.artifact.items()
        }
        for artifact in moved.values():
            path = Path(artifact.uri.removeprefix("file://"))
            if path.is_absolute() and path.name != "never-made":
                path.mkdir(parents=True, exist_ok=True) if not path.is_symlink() else None
        for path in [*root.rglob("*"), root.parent / "outside" / "kept"]:
            if path.is_dir() and not path.is_symlink():
                (path / "data").write_bytes(b"x" * 5000)
        yield replace_artifacts(store, moved), root


def replace_artifacts(store: MemoryReader, artifacts: dict[int, Artifact]) -> MemoryReader:
    return replace(store, artifact=artifacts)


def reachable(store: MemoryReader, keep_runs: int) -> set[int]:
    """By the definition, as slowly as can be."""

    def ends(execution: int, *kinds: str) -> set[int]:
        return {
            e.artifact_id for e in store.event if e.execution_id == execution and e.kind in kinds
        }

    def made_in(artifact: int) -> set[int]:
        return {
            e.execution_id for e in store.event if (e.artifact_id, e.kind) == (artifact, "output")
        }

    def models(artifact: Artifact, key: str) -> set[int]:
        if artifact.get(key) in store.artifact:
            return {artifact.get(key)}  # type: ignore[arg-type]
        near = {a for e in made_in(artifact.id) for a in ends(e, "input")}
        return {a for a in near if a in store.artifact and store.artifact[a].type == "Model"}

    def members(context: int) -> set[int]:
        return {e for c, e in store.association if c == context}

    def run_of(execution: int) -> Context | None:
        found = [c for c in store.latest_contexts("pipeline_run") if execution in members(c.id)]
        return found[-1] if found else None

    def pipeline(run: Context) -> Any:
        whole = store.context("pipeline", "a")
        inside = whole is not None and members(run.id) & members(whole.id)
        return run.get("pipeline") or ("a" if inside else None)

    roots: set[int] = set()
    groups = set()
    for artifact in sorted(store.artifact.values(), key=lambda a: -a.id):
        if artifact.type == "PushedModel" and artifact.get("pushed"):
            roots |= {artifact.id} | models(artifact, "model_id")
        if artifact.type == "ModelBlessing" and artifact.get("blessed"):
            judged = models(artifact, "current_model_id")
            judged = {m for m in judged if store.artifact[m].state != "DELETED"}
            run = run_of(min(made_in(artifact.id), default=0))
            group = (run is not None, pipeline(run) if run else None)
            if judged and group not in groups:
                groups.add(group)
                roots |= judged
    for context in store.latest_contexts(PIN):
        if context.get("active"):
            roots.add(int(str(context.name).split("-")[1]))
    used = {e.id for e in store.execution.values() if e.state == "RUNNING"}
    complete: dict[Any, int] = {}
    for run in store.latest_contexts("pipeline_run"):
        mine, states = members(run.id), store.execution_states()
        if run.get("state") == "running" or complete.get(pipeline(run), 0) < keep_runs:
            used |= mine
        if complete.get(pipeline(run), 0) < keep_runs and mine:
            well = all(states.get(e) in ("COMPLETE", "CACHED") for e in mine)
            if well and run.get("state") in (None, "complete"):
                complete[pipeline(run)] = complete.get(pipeline(run), 0) + 1
    roots |= {a for e in used for a in ends(e, "input", "output")}
    found: set[int] = set()
    while roots - found:
        found |= roots
        roots = {a for i in found for e in made_in(i) for a in ends(e, "input", "output")}
    return found


def expected(store: MemoryReader, root: Path, keep_runs: int) -> set[int]:
    """What is to be removed: not reachable, removable, and apart from all that stays."""
    needed = reachable(store, keep_runs)

    def real(uri: str) -> set[str]:
        path = uri.removeprefix("file://")
        if not path.startswith("/"):
            return set()
        path = path.rstrip("/")
        named = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return {named, os.path.realpath(path)}

    def may_go(artifact: Artifact) -> bool:
        places = real(artifact.uri)
        inside = len(places) == 1 and all(p.startswith(f"{root}/") for p in places)
        states = ("LIVE", "DELETED", "ABANDONED", "MARKED_FOR_DELETION")
        fine = artifact.state in states and not artifact.get("is_external")
        return artifact.id not in needed and fine and inside and ".." not in artifact.uri

    def touch(a: Artifact, b: Artifact) -> bool:
        pairs = [(p + "/", q + "/") for p in real(a.uri) for q in real(b.uri)]
        return any(p.startswith(q) or q.startswith(p) for p, q in pairs)

    go = {a.id: a for a in store.artifact.values() if may_go(a)}
    stay = [
        a
        for a in store.artifact.values()
        if a.id not in go and (a.state != "DELETED" or a.id in needed)
    ]
    while shared := [a for a in go.values() if any(touch(a, s) for s in stay)]:
        stay += [go.pop(a.id) for a in shared]
    return {
        i for i, a in go.items() if a.state != "DELETED" or any(map(os.path.lexists, real(a.uri)))
    }


@SETTINGS
@given(stores(), st.integers(1, 3))
def test_all_that_is_not_needed_is_removed_and_nothing_else(
    given_store: MemoryReader, keep_runs: int
) -> None:
    with on_disk(given_store) as (store, root):
        found = plan(store, root, keep_runs)
        assert {i.artifact_id for i in found.remove} == expected(store, root, keep_runs)


@SETTINGS
@given(stores(), st.integers(1, 3))
def test_what_is_kept_keeps_its_files_and_a_second_time_nothing_is_left_to_do(
    given_store: MemoryReader, keep_runs: int
) -> None:
    with on_disk(given_store) as (store, root):
        found = plan(store, root, keep_runs)
        gone = {i.artifact_id for i in found.remove}
        kept = [a for a in store.artifact.values() if a.id not in gone and a.state != "DELETED"]
        kept += [store.artifact[i] for i in reachable(store, keep_runs) if i in store.artifact]
        before = {a.uri: files_of(a.uri) for a in kept}
        outside = files_of(str(root.parent / "outside"))
        done = remove_files(found, root / TRASH, lambda done, total: None)
        assert not done.failures and done.removed == len(gone)
        assert {a.uri: files_of(a.uri) for a in kept} == before
        assert files_of(str(root.parent / "outside")) == outside
        marked = {
            i: replace(a, state="DELETED") if i in gone else a for i, a in store.artifact.items()
        }
        again = plan(replace_artifacts(store, marked), root, keep_runs)
        assert (again.remove, again.bytes) == ((), 0)


@SETTINGS
@given(stores(), st.integers(1, 2), IDS)
def test_another_pin_or_run_kept_removes_no_more(
    given_store: MemoryReader, keep_runs: int, model: int
) -> None:
    with on_disk(given_store) as (store, root):
        few = {i.artifact_id for i in plan(store, root, keep_runs).remove}
        assert {i.artifact_id for i in plan(store, root, keep_runs + 1).remove} <= few
        pinned = replace(store, contexts_by_id={**store.contexts_by_id, 30 + model: _pin(model)})
        fewer = {i.artifact_id for i in plan(pinned, root, keep_runs).remove}
        assert fewer <= few and model not in fewer


@SETTINGS
@given(stores())
def test_what_it_says_it_frees_is_what_it_frees(given_store: MemoryReader) -> None:
    with on_disk(given_store) as (store, root):
        before = usage(root)
        found = plan(store, root, 1)
        done = remove_files(found, root / TRASH, lambda done, total: None)
        assert done.freed == found.bytes == before - usage(root)


def usage(folder: Path) -> int:
    """Of files and folders below one, but not of itself."""
    return sum(os.lstat(p).st_blocks * 512 for p in folder.rglob("*"))


def files_of(uri: str) -> Any:
    path = Path(uri.removeprefix("file://"))
    if not path.is_absolute() or not path.is_dir():
        return None
    return sorted(
        (str(p), p.read_bytes()) for p in path.rglob("data") if ".visionline" not in str(p)
    )


def test_the_oracle_is_not_empty(tmp_path: Path) -> None:
    """A model that nothing needs, beside one that is pushed."""
    store = MemoryReader()
    for id_ in (1, 2):
        uri = f"{ROOT}/Trainer/model/{id_}"
        store.artifact[id_] = Artifact(**_node(id_, "Model", {}), uri=uri, state="LIVE")
    store.artifact[3] = Artifact(
        **_node(3, "PushedModel", {"pushed": 1, "model_id": 2}), uri="gs://a", state="LIVE"
    )
    with on_disk(store) as (real, root):
        found = plan(real, root)
        assert [(i.artifact_id, i.why) for i in found.remove] == [(1, "unused")]
        assert found.kept == {"pushed": 2}
        shutil.rmtree(root / "Trainer/model/1")
        assert [i.why for i in plan(real, root).remove] == ["gone"]
