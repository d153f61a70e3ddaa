"""Whose output folder it is, and that one run at a time uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from helpers import may_mount, small_disk, start_python

from common.errors import RunError
from lineage.store.connection import Connection
from lineage.store.workspace import Workspace, new_run_id

pytestmark = pytest.mark.quick

HOLD = """
import sys, time
from pathlib import Path
from lineage.store.connection import Connection
from lineage.store.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(600)
"""


def refused(message: str):
    return pytest.raises(RunError, match=re.escape(message))


def test_a_new_folder_is_made_and_stays_with_its_pipeline(tmp_path):
    workspace = Workspace(tmp_path / "runs" / "cats")
    workspace.claim("cats")
    (workspace.root / "artifacts").mkdir()
    workspace.claim("cats")
    with refused("belongs to the pipeline 'cats', not to 'dogs'. Choose another folder"):
        workspace.claim("dogs")


def test_an_empty_folder_is_taken(tmp_path):
    Workspace(tmp_path).claim("cats")
    marker = {"pipeline": "cats", "roots": [str(tmp_path)]}
    assert json.loads((tmp_path / "visionline.json").read_text()) == marker


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    for name in ("d", "c", "b", "a"):
        (tmp_path / name).write_text("")
    with refused("is not empty and not a visionline output folder (it holds a, b, c)."):
        Workspace(tmp_path).claim("cats")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("text", ["", "{", "[]", '"cats"', "null", b"\xff"])
def test_a_damaged_marker_is_named(tmp_path, text):
    marker = tmp_path / "visionline.json"
    marker.write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(f"{marker} is damaged"):
        Workspace(tmp_path).claim("cats")
    with refused(f"{marker} is damaged"):
        _ = Workspace(tmp_path).connection


def test_the_marker_tells_the_store_unless_it_is_the_folders_own(tmp_path):
    own, shared = Workspace(tmp_path / "own"), Workspace(tmp_path / "shared")
    own.claim("cats", own.default_store)
    assert "metadata" not in json.loads((own.root / "visionline.json").read_text())
    assert own.connection == own.default_store
    server = Connection.parse("mysql://ann@db.example.org/lineage")
    shared.claim("cats", server)
    assert shared.connection == server
    shared.claim("cats", server)


def test_runs_of_one_folder_stay_in_one_store(tmp_path):
    server = Connection.parse("mysql://ann@db.example.org/lineage")
    own, shared = Workspace(tmp_path / "own"), Workspace(tmp_path / "shared")
    own.claim("cats")
    with refused(f"are recorded in {own.metadata}, not in {server}: "):
        own.claim("cats", server)
    with refused("Run it without --metadata"):
        own.claim("cats", server)
    shared.claim("cats", server)
    with refused(f"Run it with --metadata {server}, or"):
        shared.claim("cats")
    with refused(f"Run it with --metadata {server}, or"):
        shared.claim("cats", Connection.parse(str(tmp_path / "other.sqlite")))
    assert shared.connection == server


def test_a_store_is_the_same_whoever_asks(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.claim("cats", Connection.parse("mysql://ann@db.example.org/lineage"))
    ben = Connection.parse("mysql://ben@db.example.org:3306/lineage")
    workspace.claim("cats", ben)
    assert workspace.connection == ben


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in (("file/out", "Not a directory"), ("file", "File exists")):
        with refused(f"Cannot write to the output folder {tmp_path / path}: {reason}."):
            Workspace(tmp_path / path).claim("cats")


if may_mount():

    def test_a_folder_that_became_read_only(tmp_path):
        with small_disk(tmp_path / "disk", "100m") as disk:
            Workspace(disk).claim("cats")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            Workspace(disk).claim("cats")
            with refused("Cannot write to the output folder"), Workspace(disk).lock():
                pass
            with refused("Cannot write to the output folder"):
                Workspace(disk / "new").claim("cats")

    def test_a_disk_without_room_is_refused_before_the_run(tmp_path):
        with small_disk(tmp_path / "disk", "8m") as disk:
            workspace = Workspace(disk / "out")
            with refused("8 MB are free, and a run needs at least 64 MB. Free some"):
                workspace.claim("cats")


def test_a_lock_holds_and_can_be_had_again(tmp_path):
    workspace = Workspace(tmp_path)
    for _ in range(2):
        message = f"Another run is using {tmp_path} (pid {os.getpid()}"
        with workspace.lock(), refused(message), workspace.lock():
            pass


def test_the_lock_of_another_process_names_it_and_ends_with_it(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.claim("cats")
    holder = start_python("-c", HOLD, str(tmp_path))
    assert holder.stdout.readline() == "held\n"
    with refused(f"(pid {holder.pid}, since "), workspace.lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with workspace.lock():
        workspace.claim("cats")


def test_run_ids_are_times_in_order():
    ids = [new_run_id() for _ in range(50)]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"\d{8}-\d{6}\.\d{6}", i) for i in ids)
    assert Workspace(Path("/x")).run_dir(ids[0]) == Path("/x/runs") / ids[0]
