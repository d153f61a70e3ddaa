"""Questions about an output folder that was moved or copied are about the files in it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Demo
from helpers import python
from reference_reader import open_reader

from common.files import read_json, sha256_file, write_json
from lineage.questions.affected_images import affected_by_images
from lineage.questions.served import served
from lineage.storage.gc import plan
from lineage.storage.verify import Verification, verify
from lineage.store.locate import locate
from lineage.store.workspace import Workspace

pytestmark = pytest.mark.quick

SQL_AND_MLMD = pytest.mark.parametrize("via", ["sql", "mlmd"])


@pytest.fixture
def copy(demo: Demo, tmp_path: Path) -> Path:
    """A copy of the demo, output and serving folder side by side; the original is there."""
    for name in ("pipeline", "serving"):
        shutil.copytree(demo.root / name, tmp_path / "copy" / name, symlinks=True)
    return tmp_path / "copy"


def asked(root: Path, question: Any, via: Any = "sql", **how: Any) -> Any:
    given = {"output": root / "pipeline", "metadata": None} | how
    with closing(open_reader(locate(**given), via)) as reader:
        return question(reader)


def checked(root: Path) -> Verification:
    found: Verification = asked(root, verify)
    return found


@SQL_AND_MLMD
@pytest.mark.parametrize("marked", [True, False])
def test_a_copy_is_checked_by_its_own_files(demo: Demo, copy: Path, via: str, marked: bool) -> None:
    if not marked:
        marker = read_json(copy / "pipeline" / "visionline.json")
        marker.pop("roots", None)
        write_json(copy / "pipeline" / "visionline.json", marker)
    found = asked(copy, verify, via)
    assert found.problems == () and found.checked.versions >= 2
    assert found.checked.digests == found.checked.artifacts > 0
    versions = asked(copy, served, via).versions
    assert versions and all(v.destination.startswith(f"{copy}/serving/") for v in versions)
    assert all(v.serving in ("latest", "kept") for v in versions)
    artifacts = asked(copy, lambda reader: list(reader.all_artifacts()), via)
    assert not [a for a in artifacts if str(demo.workspace) in str((a.uri, a.custom))]


def test_what_is_wrong_with_a_copy_is_found(copy: Path) -> None:
    (version, *_) = sorted((copy / "serving" / "digits-keras").glob("[0-9]*"))
    (version / "model.onnx").write_bytes(b"")
    models = sorted((copy / "pipeline" / "artifacts" / "Trainer" / "model").iterdir())
    shutil.rmtree(models[0])
    assert sorted(p.kind for p in checked(copy).problems) == ["damaged", "missing"]


def test_an_image_is_found_and_gc_sees_what_is_there(demo: Demo, copy: Path) -> None:
    sha = sha256_file(sorted(demo.images.glob("*/*.png"))[0])
    assert asked(copy, lambda reader: affected_by_images(reader, {sha: None})).models
    found = asked(copy, lambda reader: plan(reader, copy / "pipeline" / "artifacts", 3))
    assert not [i for i in found.remove if i.why == "gone"] and "elsewhere" not in found.kept


def test_a_served_version_leads_to_the_copy_that_it_was_copied_with(copy: Path) -> None:
    for place in ("serving/digits-keras", "pipeline/artifacts/Trainer"):
        connection = locate(None, None, str(copy / place))
        assert connection.path == copy / "pipeline" / "metadata.sqlite"
    by_store = asked(copy, verify, output=None, metadata=str(connection.path))
    assert by_store == checked(copy)


def test_a_serving_folder_that_was_moved_alone(copy: Path, cli: Cli) -> None:
    old, new = copy / "serving", copy / "elsewhere"
    workspace = Workspace(copy / "pipeline")
    recorded = asked(copy, served).versions[0].destination
    old.rename(new)
    was = str(Path(workspace.places.roots[0]).parent / "serving")
    refused = cli("relocate", workspace.root, "--serving", copy / "nowhere")
    assert refused.returncode == 2 and "no folder" in refused.stderr
    told = cli("relocate", workspace.root, "--serving", f"{was}={new}")
    assert told.returncode == 0, told.stderr
    assert f"is looked for in {new}" in told.stdout and "the files of" in told.stdout
    found = asked(copy, served).versions
    assert recorded.replace(str(old), str(new)) in [v.destination for v in found]
    assert checked(copy).problems == ()


def test_asking_about_a_copy_touches_nothing_of_the_original(demo: Demo, copy: Path) -> None:
    watched = """
import sys
touched = []
sys.addaudithook(lambda event, args: touched.extend(a for a in args if isinstance(a, (str, bytes)))
    if event in ("open", "os.listdir", "os.scandir", "sqlite3.connect") else None)
from pipeline.cli.main import app
for question in (["verify"], ["served"], ["model", "digits-keras"], ["gc", "--dry-run"]):
    app(["lineage", *question, "--output", sys.argv[1]], standalone_mode=False)
texts = [t.decode(errors="replace") if isinstance(t, bytes) else t for t in touched]
assert any(t.startswith(sys.argv[1]) for t in texts)
assert not [t for t in texts if sys.argv[2] in t], texts
"""
    done = python("-c", watched, str(copy / "pipeline"), f"{demo.root}/")
    assert done.returncode == 0, done.stdout + done.stderr
