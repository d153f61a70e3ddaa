"""What a candidate is compared with: what is served, or a reason that stops the push."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capabilities import bound_by_modes
from lineage_store import Builder
from tfx.types import standard_artifacts

from components.bulk_inferrer.baseline import resolve
from modelstore.artifact import SERVING_FORMAT, ModelCard, PushManifest, model_digest
from modelstore.baseline import Baseline, find_baseline
from modelstore.rollback import roll_back
from modelstore.versions import publish, withdrawn_by


def make_model(root: Path, name: str, classes: tuple[str, ...] = ("a", "b")) -> Path:
    """The `Format-Serving` of a model that is known by its name alone."""
    directory = root / "models" / name / SERVING_FORMAT
    if not directory.exists():
        directory.mkdir(parents=True)
        (directory / "saved_model.pb").write_text(name)
        ModelCard(
            **dict.fromkeys(("framework", "architecture", "accelerator"), "x"),
            **dict.fromkeys(("dataset_digest", "transform_digest"), "x"),
            **dict.fromkeys(("parameter_count", "seed", "epochs_run", "best_epoch"), 1),
            **{key: {} for key in ("config", "versions", "metrics", "parity")},
            image_size=(8, 8),
            class_names=classes,
            parity_tolerance=1e-4,
        ).write(directory)
    return directory


def push(root: Path, name: str, classes: tuple[str, ...] = ("a", "b")) -> Path:
    source, folder = make_model(root, name, classes), root / "serving" / "m"
    words = dict.fromkeys(("pushed_at", "framework", "architecture", "run_id"), "x")

    def manifest(version: int) -> PushManifest:
        # The same for all: a folder that was removed uses its URIs anew.
        return PushManifest(
            name="m", version=version, model_uri="/artifacts/Trainer/model/6", mlmd={}, **words
        )

    return folder / str(publish(source, folder, manifest).version)


def found(root: Path, candidate: str = "new") -> Baseline:
    return find_baseline(root / "serving" / "m", make_model(root, candidate))


def test_the_first_model_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    first = Baseline(state="first")
    assert found(tmp_path) == first
    push(tmp_path, "new")
    assert found(tmp_path) == first, "a run repeated finds the same"


def test_the_newest_version_is_it(tmp_path: Path) -> None:
    push(tmp_path, "one")
    two = push(tmp_path, "two")
    expected = Baseline(state="served", version="m@2", where=str(two), digest=model_digest(two))
    assert found(tmp_path) == expected
    push(tmp_path, "new")
    assert found(tmp_path) == expected
    roll_back(tmp_path / "serving" / "m", 1)
    assert found(tmp_path).version == "m@4", "what was rolled back to is served"


def removed(version: Path) -> None:
    shutil.rmtree(version)


def emptied(version: Path) -> None:
    for path in version.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def by_hand(version: Path) -> None:
    (version / "manifest.json").unlink()


def changed(version: Path) -> None:
    (version / "saved_model.pb").write_text("other")


def added_to(version: Path) -> None:
    (version / "more").write_text("")


def half_a_manifest(version: Path) -> None:
    (version / "manifest.json").write_text('{"name": "m"')


def no_card(version: Path) -> None:
    (version / "model.json").unlink()


@pytest.mark.parametrize("harm", [emptied, by_hand, changed, added_to, half_a_manifest, no_card])
def test_a_version_that_is_not_whole_stops_the_push(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    push(tmp_path, "one")
    harm(push(tmp_path, "two"))
    stopped = found(tmp_path)
    assert (stopped.state, stopped.version, stopped.where) == ("unusable", "m@2", None)
    assert "could not be compared with m@2" in stopped.why and "--no-baseline" in stopped.why
    push(tmp_path, "new")
    assert found(tmp_path).version == "m@1", "nothing will be pushed, so nothing is stopped"


def test_where_all_versions_are_gone_the_push_is_stopped(tmp_path: Path) -> None:
    removed(push(tmp_path, "one"))
    stopped = found(tmp_path)
    assert stopped.state == "unusable" and "has no version any more" in stopped.why


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("a",), ("a", "c")])
def test_other_classes_stop_the_push(tmp_path: Path, classes: tuple[str, ...]) -> None:
    push(tmp_path, "one", classes)
    stopped = found(tmp_path)
    assert stopped.state == "unusable" and "its classes are others" in stopped.why


def test_the_order_of_classes_does_not_matter(tmp_path: Path) -> None:
    push(tmp_path, "one", ("b", "a"))
    assert found(tmp_path).state == "served"


def test_a_folder_that_cannot_be_read_stops_the_push(tmp_path: Path) -> None:
    version = push(tmp_path, "one")
    version.parent.chmod(0)
    try:
        with bound_by_modes():
            assert found(tmp_path).state == "unusable"
    finally:
        version.parent.chmod(0o755)


def test_a_half_written_push_is_no_version(tmp_path: Path) -> None:
    push(tmp_path, "one")
    (tmp_path / "serving" / "m" / ".partial-2").mkdir()
    assert found(tmp_path).version == "m@1"


class Recorded:
    """A store in which another model was pushed, and a candidate."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.builder = Builder(root / "metadata.sqlite")
        self.pushed = self.builder.run(name="m", version=1)
        self.candidate: Any = standard_artifacts.Model()
        self.candidate.uri = str(make_model(root, "new").parent)
        self.candidate.id = 1000

    def resolve(self, folder: Path, comparison: str = "required") -> Baseline:
        return resolve(self.builder.store, "digits", folder, self.candidate, comparison)


def test_what_was_pushed_and_is_gone_stops_the_push(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    folder = tmp_path / "serving" / "m"
    stopped = recorded.resolve(folder)
    assert stopped.state == "unusable" and f"it is not at {folder}/1 any more" in stopped.why
    assert recorded.resolve(folder, "none") == Baseline(state="off")
    assert recorded.resolve(tmp_path / "serving" / "another").state == "first"
    recorded.candidate.id = recorded.pushed.artifacts["Trainer.model"]
    assert recorded.resolve(folder).state == "first", "it was this very model"


def test_another_serving_folder_does_not_do_away_with_the_comparison(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    push(tmp_path, "old")
    found = recorded.resolve(tmp_path / "elsewhere" / "m")
    assert (found.state, found.where) == ("served", str(tmp_path / "serving" / "m" / "1"))
    shutil.move(tmp_path / "serving", tmp_path / "moved")
    assert recorded.resolve(tmp_path / "moved" / "m").state == "served"
    assert recorded.resolve(tmp_path / "serving" / "m").state == "unusable"


def test_what_was_rolled_back_from_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "serving" / "m"
    good, bad = (push(tmp_path, name) for name in ("good", "bad"))
    assert roll_back(folder).copied == 1
    digests = [model_digest(make_model(tmp_path, n)) for n in ("good", "bad", "new")]
    uri = "/artifacts/Trainer/model/6"
    assert [withdrawn_by(folder, uri, d) for d in digests] == [None, 3, None]
    assert [withdrawn_by(folder, "/moved", d) for d in digests] == [None, 3, None]
    assert good.is_dir() and bad.is_dir()
