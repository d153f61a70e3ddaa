"""Folders as they come from a camera, a zip, a NAS or a public collection."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.example_gen.config import DataConfig
from components.example_gen.folders.ignore import to_ignore
from components.example_gen.folders.listing import list_tree
from components.example_gen.folders.names import is_part, is_series, split_named
from components.example_gen.folders.tree import Entry
from components.example_gen.records import Source
from components.example_gen.source import list_source

pytestmark = pytest.mark.quick


def encoded(kind: str, shade: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (shade % 256, shade // 256, 7)).save(out, kind)
    return out.getvalue()


def make(root: Path, *what: str | tuple[str, bytes]) -> Path:
    """Makes a folder: CLASS/* is two images, NAME an image, NAME/ a folder, pairs are files."""
    for shade, item in enumerate(what):
        name, content = item if isinstance(item, tuple) else (item, None)
        path = root / name.removesuffix("*")
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        names = [path / "1.jpg", path / "2.jpg"] if name.endswith("*") else [path]
        for n, file in enumerate(names):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded("PNG", 2 * shade + n) if content is None else content)
    return root


def listed(path: Path, **config: object) -> Source:
    return list_source(DataConfig(path=str(path), **config), str(path))  # type: ignore[arg-type]


def counts(source: Source) -> dict[str, int]:
    """Images by "split/label", or by label."""
    return Counter("/".join(filter(None, (r.split, r.label))) for r in source.records)


def refusal(path: Path, **config: object) -> str:
    with pytest.raises(DataError) as e:
        listed(path, **config)
    message = str(e.value)
    assert message.startswith(str(path)) and message.isprintable()
    return message.replace(str(path), "DATA")


def each(classes: Iterable[str], *folders: str) -> list[str]:
    return [f"{folder}/{c}/*" for folder in folders for c in classes]


# Layouts that a person reads in one way.

CLASSES = {"a": 2, "b": 2}
SPLITS = {"train/a": 2, "train/b": 2, "test/a": 2}


@pytest.mark.parametrize(
    ("what", "expected"),
    {
        "Training, Testing": (["Training/a/*", "Training/b/*", "Testing/a/*"], SPLITS),
        "training_set": (["training_set/a/*", "training_set/b/*", "test_set/a/*"], SPLITS),
        "train2017": (["train2017/a/*", "train2017/b/*", "test2017/a/*"], SPLITS),
        "seg_train/seg_train": (
            [*each("ab", "seg_train/seg_train"), "seg_test/seg_test/a/*"],
            SPLITS,
        ),
        "a name before the splits": (
            [*each("ab", "pets_train"), "pets_test/a/*"],
            SPLITS,
        ),
        "a folder in each split": ([*each("ab", "train/data"), "test/pictures/a/*"], SPLITS),
        "folders called differently": ([*each("ab", "train/x"), "test/y/a/*"], SPLITS),
        "one folder around": (each("ab", "data"), CLASSES),
        "three folders around splits": ([*each("ab", "x/y/z/train"), "x/y/z/test/a/*"], SPLITS),
        "a cover beside the one folder": ([*each("ab", "data"), "cover.png"], CLASSES),
        "splits in classes": (["a/train/*", "b/train/*", "a/test/*"], SPLITS),
        "a class called as a split's folder": (["Split-brain/*", "b/*"], None),
        "vehicles of a kind": (["steam train/*", "bullet train/*", "test car/*"], None),
        "a vehicle called train": (["train/*", "car/*"], None),
        "a test split of one class with folders": (
            [*each("ab", "train"), "test/a/x/*", "test/a/y/*"],
            {**SPLITS, "test/a": 4},
        ),
        "by session": (["a/2019/*", "a/2020/*", "b/2019/*", "b/2020/*"], {"a": 4, "b": 4}),
        "by camera": (["a/100CANON/*", "a/101CANON/*", "b/100CANON/*", "b/101CANON/*"], None),
        "digits": (["0/*", "1/*"], {"0": 2, "1": 2}),
        "masks that are worn": (["with_mask/*", "without_mask/*"], None),
        "numbered labels": (["label_0/*", "label_1/*"], None),
    }.values(),
    ids=lambda _: "",
)
def test_read_without_a_question(tmp_path, what, expected) -> None:
    found = counts(listed(make(tmp_path, *what)))
    tops = {w.split("/")[0] for w in what}
    assert found == expected or (expected is None and set(found) == tops)


# Layouts with two readings.

TO_WRITE = {"classes": 'data.layout = "classes"', "folder": 'data.format = "folder"'}
OTHER_SPLITS = b"path,label,split\ntrain/a/1.jpg,a,val\ntrain/b/1.jpg,b,train\n"
READINGS = {
    "flat splits beside a table": (
        ["train/*", "test/*", ("train.csv", b"id,label\n")],
        ["test/, train/ hold images and no class folders", "train.csv is there", "classes"],
    ),
    "flat splits": (["Training/*", "Testing/*"], ["no class folders", "manifest", "classes"]),
    "flat splits in themselves": (["train/train/*", "test/test/*"], ["no class folders"]),
    "flat splits, a folder beside": (["train/*", "test1/*", "car/*"], ["no class folders"]),
    "splits of detection": (
        ["train/images/*", "valid/images/*", ("train/labels/1.txt", b"0 1 1 1 1")],
        ["train/, valid/ hold images and no class folders"],
    ),
    "images of detection": (
        ["images/train/*", "images/val/*", ("labels/train/1.txt", b"0")],
        ["images/train/, images/val/ hold images"],
    ),
    "flat splits with a name before": (
        ["pets_train/pets_train/*", "pets_test/pets_test/*", "docs/*"],
        ["pets_test/, pets_train/ hold images and no class folders", "classes"],
    ),
    "an unlabelled split with a name before": (
        [*each("ab", "pets_train/pets_train"), "pets_test/pets_test/*"],
        ['data.ignore = ["pets_test/**"]'],
    ),
    "a copy of the classes, deeper": (
        each("ab", "data/pets", "pets"),
        ["data/, pets/, or the folders one level deeper (a, b)", "classes"],
    ),
    "a train split alone": (["train/*"], ["train/ holds images and no class folders"]),
    "folds": (["fold1/*", "fold2/*", "fold3/*"], ["no class folders", "classes"]),
    "folds of classes": (
        each("ab", "fold1", "fold2"),
        ["one level deeper (a, b)", 'data.path = "DATA/fold1"', "classes"],
    ),
    "collections of classes": (each("ab", "one", "two"), ["one level deeper (a, b)", "classes"]),
    "a folder of classes beside others": (
        ["docs/*", *each("ab", "data")],
        ["one level deeper (a, b)", 'data.path = "DATA/data"', "classes"],
    ),
    "a folder of classes beside others, deeper": (
        ["docs/*", *each("ab", "data/pets")],
        ['data.path = "DATA/data/pets"', "classes"],
    ),
    "images and masks": (["images/*", "masks/*"], ["masks/ may be masks", "classes"]),
    "classes of images and of masks": (
        each("ab", "images", "masks"),
        ['data.ignore = ["masks/**"]', "classes"],
    ),
    "masks in classes": (
        ["a/images/*", "a/masks/*", "b/images/*", "b/masks/*"],
        ['data.ignore = ["masks/"]', "classes"],
    ),
    "unpacked twice": (
        ["a/*", "b/*", *each("ab", "pets")],
        ["there twice, in pets/", 'data.ignore = ["pets/**"]', "classes"],
    ),
    "unpacked twice, deeper": (["a/*", "b/*", *each("ab", "x/x")], ['data.ignore = ["x/**"]']),
    "unpacked twice in a split": (
        [*each("ab", "train", "train/train"), "val/a/*"],
        ['data.ignore = ["train/train/**"]', 'data.layout = "splits"'],
    ),
    "unpacked twice with splits": (
        [*each("ab", "train", "x/train"), "val/a/*", "x/val/a/*"],
        ['data.ignore = ["x/**"]'],
    ),
    "a folder with images beside splits": (
        [*each("ab", "train"), "val/a/*", "docs/*"],
        ["'docs'", 'data.ignore = ["docs/**"]', "classes"],
    ),
    "a class called train, with folders": (
        ["train/steam/*", "train/diesel/*", "car/*", "plane/*"],
        ['data.ignore = ["car/**", "plane/**"]', "classes"],
    ),
    "a misspelt split": ([*each("ab", "train"), "vaild/a/*"], ["Did you mean 'valid'?"]),
    "an unlabelled test split": (
        [*each("ab", "train"), "test/*"],
        ["test/ holds images and no class folders", 'data.ignore = ["test/**"]', "test/CLASS/"],
    ),
    "an unlabelled test split in itself": (
        [*each("ab", "train"), "test/test/*"],
        ['data.ignore = ["test/**"]'],
    ),
    "an unlabelled test split beside classes": (
        ["a/*", "b/*", "test/*"],
        ['data.ignore = ["test/**"]', "classes"],
    ),
    "two folders of one split": (
        each("ab", "train", "val", "valid"),
        ["two folders are the split 'val'", 'data.ignore = ["valid/**"]'],
    ),
    "no train split": (["val/a/*", "test/b/*"], ["folder train/", "classes"]),
    "a class without its images": (
        ["cats/persian/*", "cats/siamese/*", "dogs/"],
        ["dogs/ none", "missing", 'data.path = "DATA/cats"'],
    ),
    "images in no folder": (["1.jpg", "2.jpg"], ["2 images in no folder (1.jpg, 2.jpg)"]),
    "stray records": (
        ["a/*", "b/*", ("old.tfrecord", b"")],
        ["old.tfrecord", 'data.format = "tfrecord"', "folder"],
    ),
    "a table of another kind beside one folder": (
        [*each("ab", "data"), ("list.csv", b"file,kind\n")],
        ["DATA/list.csv", "folder"],
    ),
    "a manifest that says other splits": (
        [*each("ab", "train"), "val/a/*", ("l.csv", OTHER_SPLITS)],
        ["l.csv", "'a' in val, the folders say 'a' in train"],
    ),
    "a manifest that says otherwise": (
        ["a/*", "b/*", ("list.csv", b"path,label\na/1.jpg,a\nb/1.jpg,c\n")],
        [
            "of b/1.jpg",
            "says 'c', the folders say 'b'",
            'data.path = "DATA/list.csv"',
            'data.format = "folder"',
        ],
    ),
}


@pytest.mark.parametrize(("what", "expected"), READINGS.values(), ids=READINGS)
def test_refused_with_both_readings_and_what_to_write(tmp_path, what, expected) -> None:
    message = refusal(make(tmp_path, *what))
    assert len(message) < 600
    for words in expected:
        assert TO_WRITE.get(words, words) in message


@pytest.mark.parametrize(
    ("what", "config", "expected"),
    [
        (["train/*", "test/*"], {"layout": "classes"}, {"train": 2, "test": 2}),
        (
            ["train/steam/*", "train/diesel/*", "car/*"],
            {"layout": "classes"},
            {"train": 4, "car": 2},
        ),
        (["images/train/*", "images/val/*"], {"layout": "classes"}, {"train": 2, "val": 2}),
        (
            [*each(("part_1", "part_2"), "train", "val")],
            {"layout": "splits"},
            {"train/part_1": 2, "train/part_2": 2, "val/part_1": 2, "val/part_2": 2},
        ),
        (
            [*each(("part_1", "part_2"), "train"), "test/part_1/*"],
            {"layout": "splits"},
            {"train/part_1": 2, "train/part_2": 2, "test/part_1": 2},
        ),
        ([*each("ab", "train"), "test/a/*", "docs/*"], {"ignore": ["docs/**"]}, SPLITS),
        ([*each("ab", "train"), "test/a/*", "d [1]/*"], {"ignore": [r"d \[1\]/**"]}, SPLITS),
        ([*each("ab", "train"), "val/*"], {"ignore": ["val/**"]}, {"train/a": 2, "train/b": 2}),
        (["a/images/*", "a/masks/*", "b/images/*", "b/masks/*"], {"ignore": ["masks/"]}, CLASSES),
        (["a/*", "b/*", "a/x.gif"], {"ignore": ["*.gif"]}, CLASSES),
        (["a/*", "b/*", ("old.tfrecord", b"")], {"ignore": ["*.tfrecord"]}, CLASSES),
        (["a/*", "b/*", ("old.tfrecord", b"")], {"format": "folder"}, CLASSES),
        ([*each("ab", "data"), ("list.csv", b"x,y\n")], {"format": "folder"}, CLASSES),
        (["a/*", "b/*", ("list.csv", b"path,label\na/1.jpg,c\n")], {"ignore": ["/*.csv"]}, CLASSES),
    ],
)
def test_what_a_refusal_says_to_write_helps(tmp_path, what, config, expected) -> None:
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    assert counts(listed(make(tmp_path, *what), **config)) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (["a/*", "b/*"], "found a/, b/; rename them"),
        (["train/*", "test/*"], "found test/, train/; rename"),
        (["1.jpg"], "found none"),
        ([*each("ab", "train"), "docs/*"], 'data.ignore = ["docs/**"]'),
    ],
)
def test_splits_that_are_none_are_refused(tmp_path, what, expected) -> None:
    assert expected in refusal(make(tmp_path, *what), layout="splits")


def test_a_pattern_to_ignore_a_folder_means_that_folder_whatever_it_is_called(tmp_path) -> None:
    odd = ["a*b", "[x]", "!y", "#z", "q?", "back\\slash", "sp ace", " lead"]
    make(tmp_path, "a/*", "b/*", "axb/*", *(f"{name}/*" for name in odd))
    pattern = to_ignore(map(os.fsencode, odd)).removeprefix("data.ignore = ")
    assert set(counts(listed(tmp_path, ignore=tuple(json.loads(pattern))))) == {"a", "b", "axb"}


def test_patterns_of_a_manifest_and_of_records(tmp_path) -> None:
    make(tmp_path, ("m.csv", b"path,label\na/1.png,a\nb/1.png,b\nb/2.gif,b\n"))
    source = listed(tmp_path / "m.csv", ignore=("*.gif", "no/**"))
    assert len(source.records) == 2 and source.ignored == {"data.ignore": 1}
    assert source.notices == ("data.ignore: 'no/**' matches nothing.",)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\.gitignore"):
        DataConfig(path="x", ignore=("!",))


# What is no class.

SYSTEM = [
    *("#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
    *("~snapshot", ".snapshot", "#snapshot", "@eaDir", "@tmp", ".@__thumb", "__MACOSX"),
    *("venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".thumbnails"),
    *(".Trash-1000", "FOUND.000", "LOST.DIR"),
]


def test_system_folders_are_never_classes(tmp_path) -> None:
    make(tmp_path, "a/*", "b/*", *(f"{name}/*" for name in SYSTEM))
    make(tmp_path / "a", *(f"{name}/*" for name in SYSTEM), ("Icon\r", b""), ("ehthumbs.db", b"x"))
    source = listed(tmp_path)
    assert counts(source) == CLASSES and not source.quarantined and not source.notices
    assert source.ignored == {"hidden or system files": 2 * len(SYSTEM) + 2}


@pytest.mark.parametrize("marker", ["pyvenv.cfg", "conda-meta/", "visionline.json"])
def test_environments_and_outputs_are_never_classes(tmp_path, marker) -> None:
    made = marker if marker.endswith("/") else (f"x/{marker}", b"")
    make(tmp_path, "a/*", "b/*", "x/lib/*", f"x/{marker}" if made == marker else made)
    source = listed(tmp_path)
    assert counts(source) == CLASSES and not source.notices


def test_folders_without_images_beside_splits_are_counted(tmp_path) -> None:
    make(tmp_path, *each("ab", "train"), "test/a/*", "empty/", "runs/x/")
    make(tmp_path, ("logs/1.txt", b"x"), ("models/best.pt", b"x"), ("__pycache__/a.pyc", b"x"))
    source = listed(tmp_path)
    assert counts(source) == SPLITS and not source.notices
    assert source.ignored["folders without images"] == 4


def test_files_that_are_no_images_by_name_and_content_are_not_unusable_ones(tmp_path) -> None:
    files = [(name, b"text") for name in ("LICENSE", "README", "a/Makefile", "a/x.y", "a/_SUCCESS")]
    source = listed(make(tmp_path, "a/*", "b/*", "cover.png", *files))
    assert counts(source) == CLASSES
    assert source.ignored == {"files without an extension": 4, "*.y": 1}
    assert [(q.path, q.reason) for q in source.quarantined] == [
        (b"cover.png", "outside-class-folders")
    ]
    assert source.notices == ("1 image outside the class folders, left out: cover.png.",)


@pytest.mark.parametrize(
    "name",
    ["x.jpg_large", "photo.jpg?w=640", "photo.png?v=1.2", "2021.05.03 12.30", "none", "a.JPG~"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000"])
def test_content_decides_where_a_name_is_odd(tmp_path, name, kind) -> None:
    source = listed(make(tmp_path, "b/*", (f"a/{name}", encoded(kind))))
    assert counts(source) == {"a": 1, "b": 2}


def test_a_name_says_image_though_the_content_is_none(tmp_path) -> None:
    odd = ["x.jpg_large", "y.jpg?w=640", "z.png:orig"]
    aside = ["1.jpg:Zone.Identifier", "1.jpg - Shortcut.lnk", "1.png.meta", "1.jpg.json"]
    make(tmp_path, "a/*", "b/*", *((f"a/{name}", b"broken") for name in odd + aside))
    source = listed(tmp_path)
    assert {os.fsdecode(r.path)[2:] for r in source.records} == {"1.jpg", "2.jpg", *odd}
    assert sum(source.ignored.values()) == len(aside)


def test_raw_files_beside_photographs_are_left_aside(tmp_path) -> None:
    source = listed(make(tmp_path, "a/*", "b/*", ("a/1.CR2", encoded("TIFF"))))
    assert counts(source) == CLASSES and source.ignored == {"*.cr2": 1}


# Classes that vanish.


def test_classes_that_vanish_are_told_in_one_line(tmp_path) -> None:
    make(tmp_path, "a/*", "b/*", "c/", ("d/1.xyz", b"x"), ("e/.gitkeep", b""), ("f/x/1.txt", b""))
    (notice,) = listed(tmp_path).notices
    assert notice == (
        "Without an image, so left out: c (empty), d (1 × *.xyz), e (empty), f (1 × *.txt)."
    )


def test_a_class_that_vanishes_from_a_split_is_told(tmp_path) -> None:
    make(tmp_path, *each("ab", "train"), "val/a/*", "val/b/", "test/")
    (notice,) = listed(tmp_path).notices
    assert notice == "Without an image, so left out: test (empty), val/b (empty)."


def test_a_class_that_begins_with_a_dot_is_told(tmp_path) -> None:
    make(tmp_path, "a/*", "b/*", ".NET/*", (".config/x.json", b"{}"))
    (notice,) = listed(tmp_path).notices
    assert notice.startswith(".NET begins with a dot") and "2 images; rename it" in notice


def test_classes_that_differ_in_case_are_told(tmp_path) -> None:
    make(tmp_path, "train/Cat/*", "train/dog/*", "val/cat/*", "val/dog/*")
    (notice,) = listed(tmp_path).notices
    assert "'Cat' and 'cat' differ in case alone" in notice


def test_a_class_too_few_says_what_else_there_is(tmp_path) -> None:
    message = refusal(make(tmp_path, "a/*", ("b/1.xyz", b"x")))
    assert "at least two classes, got ['a']" in message and "b (1 × *.xyz)" in message


def test_folders_in_class_folders_are_told(tmp_path) -> None:
    source = listed(make(tmp_path, *each("ab", "animals"), *each("cd", "plants")))
    assert counts(source) == {"animals": 4, "plants": 4}
    assert source.notices[0].endswith("and no classes: animals (a, b), plants (c, d).")


@pytest.mark.parametrize(
    "table", ["labels.csv", "list.tsv", "x.jsonl", "x.xlsx", "annotations.json", "classes.txt"]
)
def test_a_table_beside_class_folders_is_told(tmp_path, table) -> None:
    source = listed(make(tmp_path, "a/*", "b/*", (table, b"x,y\n")))
    assert counts(source) == CLASSES and table in source.notices[0]
    assert listed(make(tmp_path / "x", "a/*", "b/*", ("about.txt", b"x"))).notices == ()


def test_folders_of_annotations_are_told(tmp_path) -> None:
    source = listed(make(tmp_path, "a/*", "b/*", ("annotations/1.xml", b"x")))
    assert any("Not read" in n and "annotations/" in n for n in source.notices)


def test_a_manifest_that_agrees_is_told(tmp_path) -> None:
    lines = b"path,label,split\na/1.jpg,a,\nb/1.jpg,b,\n"
    assert "list.csv" in listed(make(tmp_path, "a/*", "b/*", ("list.csv", lines))).notices[0]


def test_a_pattern_that_matches_nothing_is_told(tmp_path) -> None:
    source = listed(make(tmp_path, "a/*", "b/*"), ignore=("dosc/**", "# docs", ""))
    assert source.notices == ("data.ignore: 'dosc/**' matches nothing.",)


def test_a_notice_is_one_line_that_a_terminal_shows(tmp_path) -> None:
    make(tmp_path, "a/*", "b/*", "x\x1b[2J\n/")
    assert listed(tmp_path).notices == (r"Without an image, so left out: x\x1b[2J\n (empty).",)


# Links.


def test_a_link_does_not_rename_the_class_that_it_leads_to(tmp_path) -> None:
    make(tmp_path, "b/*", "c/*", "c/deep/*")
    os.symlink("b", tmp_path / "a")
    os.symlink("c/deep", tmp_path / "0")
    source = listed(tmp_path)
    assert counts(source) == {"b": 2, "c": 4}
    assert source.ignored["folders linked more than once"] == 2
    assert "a (a link to a folder" in source.notices[0]


def test_links_out_of_the_folder_are_classes(tmp_path) -> None:
    make(tmp_path, "store/x/*", "store/y/*")
    (tmp_path / "data").mkdir()
    for name in "xy":
        os.symlink(tmp_path / "store" / name, tmp_path / "data" / name)
    assert counts(listed(tmp_path / "data")) == {"x": 2, "y": 2}


class Listed:
    """A tree of given paths, some of whose folders cannot be read."""

    def __init__(self, *files: str, unreadable: str = "") -> None:
        self.folders: dict[bytes, dict[bytes, bool]] = {}
        for file in files:
            path, is_directory = file.encode(), False
            while path:
                parent = path.rpartition(b"/")[0]
                self.folders.setdefault(parent, {})[path] = is_directory
                path, is_directory = parent, True
        self.unreadable = unreadable.encode()

    def entries(self, directory: bytes) -> list[Entry]:
        if directory and directory == self.unreadable:
            raise PermissionError(13, "Permission denied")
        return [Entry(path, folder) for path, folder in sorted(self.folders[directory].items())]

    def identity(self, directory: bytes) -> bytes:
        return directory

    def head(self, path: bytes, size: int) -> bytes:
        raise PermissionError(13, "Permission denied")


def test_folders_deeper_than_the_interpreter_recurses() -> None:
    tree = Listed("a/1.jpg", f"b/{'d/' * 2000}1.jpg")
    assert counts(list_tree(tree, "somewhere", DataConfig(path="x"))) == {"a": 1, "b": 1}


def test_what_cannot_be_read_is_quarantined_and_told() -> None:
    tree = Listed("a/1.jpg", "b/1.jpg", "c/1.jpg", "a/photo", unreadable="c")
    source = list_tree(tree, "somewhere", DataConfig(path="x"))
    assert counts(source) == {"a": 2, "b": 1}  # whoever reads the photo says why it cannot be read
    assert [(q.path, q.reason, q.detail) for q in source.quarantined] == [
        (b"c", "unreadable", "Permission denied")
    ]
    assert source.notices == ("Without an image, so left out: c (Permission denied).",)


# Names.


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((n, "train") for n in ("train", "Training", "train_set", "TRAINSET", "seg_train")),
        *((n, "train") for n in ("train2017", "01_train", "training data", "train-images")),
        *((n, "val") for n in ("valid", "Validation", "val_set", "valset", "eval", "dev")),
        *((n, "test") for n in ("test", "Testing", "testset", "test_images", "test1")),
        *((n, None) for n in ("trainval", "trains", "retrain", "cat", "images", "", "pretest")),
        *((n, None) for n in ("steam train", "device", "contest", "7", "Zug")),
    ],
)
def test_names_of_splits(name, split) -> None:
    assert split_named(name) == split


def test_names_of_parts_and_series() -> None:
    assert all(map(is_part, ["fold1", "Fold 2", "part A", "images", "data", "batch_3", "test"]))
    assert not any(map(is_part, ["cat", "A", "0", "label_1", "no_mask", "data center", ""]))
    assert all(map(is_series, ["2021", "2021-05-03", "100CANON", "day 1", "Session_2", "DCIM"]))
    assert not any(map(is_series, ["cat", "0", "12", "a", "day trip"]))
