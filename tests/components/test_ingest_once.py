"""What ingestion reads, and how often: each file once, and no file that is known."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from components.example_gen import seen
from components.example_gen.config import DataConfig, to_json
from components.example_gen.digest import fingerprint, hash_file
from components.example_gen.report import conclude
from components.example_gen.resolve import FINGERPRINT, resolve, resolve_once
from components.example_gen.seen import Seen
from components.example_gen.source import list_source
from components.example_gen.spool import Gathered

pytestmark = pytest.mark.quick


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes, whose files changed long ago."""
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(20):
            image = Image.new("RGB", (4, 4), (n, len(label), ord(label[0])))
            image.save(tmp_path / "data" / label / f"{n}.png")
    monkeypatch.setattr(seen, "_SETTLED_NS", -(10**12))
    return tmp_path / "data"


_opened: Counter[str] = Counter()
_watching = False


def _watch(event: str, args: tuple[object, ...]) -> None:
    if _watching and event == "open" and isinstance(args[0], bytes):
        _opened[os.fsdecode(args[0])] += 1


sys.addaudithook(_watch)


@pytest.fixture
def opened() -> Iterator[Counter[str]]:
    """How often each path that is bytes is opened, such as an image's."""
    global _watching
    _opened.clear()
    _watching = True
    yield _opened
    _watching = False


def identify(data: Path, *, gathers: bool = True) -> str:
    config = to_json(DataConfig(path=str(data)))
    work = data.parent
    found: str = resolve_once(config, work / "examples", work / "seen", gathers=gathers)[
        FINGERPRINT
    ]
    return found


def expected(data: Path) -> str:
    found: str = resolve(to_json(DataConfig(path=str(data))))[FINGERPRINT]
    return found


def test_new_data_is_read_once_for_all(data: Path, opened: Counter[str]) -> None:
    read = identify(data)
    files = {str(f) for f in data.glob("*/*")}
    assert {f: opened[f] for f in files} == dict.fromkeys(files, 1)
    gathered = Gathered.found(data.parent / "examples")
    assert gathered is not None
    outcome = conclude(gathered.source, DataConfig(path=str(data)), gathered.notes())
    assert outcome.report["images"] == 40
    assert outcome.fingerprint == read == expected(data)


def test_known_files_are_not_read(data: Path) -> None:
    first = identify(data)
    shutil.rmtree(data.parent / "examples")
    assert identify(data) == first
    assert Gathered.found(data.parent / "examples") is None
    # What it goes by is what was written down.
    source = list_source(DataConfig(path=str(data)), str(data))
    wrong = Seen(data.parent / "seen")
    stamps = [hash_file(source.file(r))[1] for r in source.records]
    assert all(stamps) and "" not in wrong.known(stamps)
    wrong.keep(seen.entry(stamp, "0" * 64) for stamp in stamps)
    wrong.write()
    assert identify(data) not in (first, expected(data))


def test_a_touched_file_is_the_same(data: Path) -> None:
    first = identify(data)
    os.utime(data / "cat/1.png", (1, 1))
    assert identify(data) == first == expected(data)


def test_a_changed_byte_is_seen_though_size_and_time_are_as_before(data: Path) -> None:
    first = identify(data)
    file = data / "cat/1.png"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert identify(data) == expected(data) != first


def test_another_file_by_the_same_name_is_seen(data: Path) -> None:
    first = identify(data)
    shutil.copy2(data / "cat/2.png", data / "cat/x")
    os.replace(data / "cat/x", data / "cat/1.png")
    assert identify(data) == expected(data) != first


def test_what_has_only_just_changed_is_read_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    identify(data)
    assert os.path.getsize(data.parent / "seen") == 32  # a checksum, and no entry


def test_a_broken_file_of_what_is_known_is_none(data: Path) -> None:
    first = identify(data)
    path = data.parent / "seen"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    for broken in (bytes(content), path.read_bytes()[:-1], b"", b"x"):
        path.write_bytes(broken)
        assert identify(data) == first


def test_nothing_is_gathered_for_beam(data: Path) -> None:
    assert identify(data, gathers=False) == expected(data)
    assert not (data.parent / "examples").exists()


def test_a_class_that_moves_is_another_fingerprint(data: Path) -> None:
    first = identify(data)
    os.rename(data / "cat/1.png", data / "dog/100.png")
    assert identify(data) == expected(data) != first
    source = list_source(DataConfig(path=str(data)), str(data))
    assert fingerprint(source) == fingerprint(source, Seen(data.parent / "seen"))
