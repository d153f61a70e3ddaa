"""What the names of files and folders say, as people, cameras, NAS and web pages give them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

IMAGE_EXTENSIONS = frozenset(
    b".jpg .jpeg .jpe .jfif .png .gif .bmp .dib .webp .tif .tiff .avif .jp2 .j2k .ppm .pgm .pbm "
    b".pnm .tga .ico .heic .heif .psd .svg .mpo .jxl".split()
)
"""Files named so are expected to be images."""
_OTHER_EXTENSIONS = frozenset(
    b".txt .xml .json .csv .tsv .md .py .mat .npy .npz .zip "
    b".cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .pef .srw .3fr .iiq .x3f .thm".split()
)
"""Files named so are not: what lies beside every image of some collections, and the raw
files of cameras, which begin as a TIFF does, and their thumbnails."""
_ODD_EXTENSION = re.compile(
    rb"\.(jpe?g|jpe|jfif|png|gif|bmp|webp|tiff?|avif|hei[cf])(\?|[^a-z0-9.][^.]*$)", re.IGNORECASE
)
"""Within a name: of photo.jpg?w=640, photo.jpg_large, photo.jpg~."""
_SYSTEM_NAMES = frozenset(
    [
        *(b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"picasa.ini", b"icon\r"),
        *(b"$recycle.bin", b"recycler", b"recycled", b"system volume information", b"lost.dir"),
        *(b"__macosx", b"network trash folder", b"temporary items", b"thevolumesettingsfolder"),
        *(b"@eadir", b"#recycle", b"@recycle", b"@recycle.bin", b"@recently-snapshot", b"@tmp"),
        *(b"#snapshot", b"~snapshot", b"@snapshot", b"lost+found", b"_gsdata_"),
        *(b"__pycache__", b"venv", b"virtualenv", b"node_modules", b"site-packages"),
    ]
)
_SYSTEM_NAME = re.compile(rb"found\.\d{3}", re.IGNORECASE)
"""What Windows' chkdsk makes."""
_TABLES = frozenset(b".csv .tsv .json .jsonl .ndjson .parquet .xlsx .xls .ods".split())
_TEXTS = frozenset(b".txt .lst .xml .yaml .yml .mat .pkl .npy .npz .h5".split()) | {b""}
_OF_LABELS = {
    *("label", "labels", "annotation", "annotations", "class", "classes", "manifest", "coco"),
    *("train", "training", "test", "val", "valid", "validation", "split", "splits", "metadata"),
    *("list", "index", "captions", "targets"),
}
MARKERS = frozenset({b"pyvenv.cfg", b"conda-meta", b"visionline.json"})
"""A folder that holds one of these is a Python environment, or what a pipeline wrote."""
_OF_TOOLS = (
    *(b".trash", b".thumb", b".cache", b".snapshot", b".git", b".ipynb", b".apple", b".picasa"),
    *(b".dvc", b".venv", b".idea", b".vscode", b".dropbox", b".sync", b".@", b"._"),
)
"""How hidden folders of tools are called that may hold pictures."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "eval": "val",
    "evaluation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, and what they are called here."""
_OF_SPLITS = {
    *("set", "data", "dataset", "split", "folder", "dir", "seg"),
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures"),
}
"""Words that a split's name may have besides: training_set, seg_train, test images."""
_PARTS = _OF_SPLITS | {
    *("fold", "folds", "part", "parts", "batch", "chunk", "shard", "subset", "cv", "kfold"),
    *("mask", "masks", "labels", "annotations", "gt", "groundtruth", "ground", "truth"),
    *("segmentation", "segmentations"),
}
"""Words of names that tell how data is divided or kept, and not what is to be seen."""
_MASKS = {
    *("mask", "masks", "labels", "annotations", "gt", "groundtruth"),
    *("segmentation", "segmentations"),
}
_SERIES = {
    *("session", "day", "week", "month", "year", "scene", "video", "clip", "seq", "sequence"),
    *("camera", "cam", "dcim", "canon", "nikon", "apple", "android", "msdcf", "media", "img"),
    *("left", "right", "front", "back", "top", "bottom", "view", "jpg", "jpeg", "png"),
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
}
"""Words of names that tell when or how pictures were taken."""


def is_hidden(name: bytes) -> bool:
    """Says whether a file or folder is hidden, or a system's own."""
    return name.startswith(b".") or is_system(name)


def is_system(name: bytes) -> bool:
    """Says whether a file or folder is a system's or a tool's own, by its name."""
    return (
        name.lower() in _SYSTEM_NAMES
        or name.lower().startswith(_OF_TOOLS)
        or _SYSTEM_NAME.fullmatch(name) is not None
    )


def extension(name: bytes) -> bytes:
    return os.path.splitext(name)[1].lower()


def image_by_name(name: bytes) -> Literal["yes", "no", "perhaps"]:
    """Says whether a file is an image by its name; perhaps: its content has to say."""
    ending = extension(name)
    if ending in IMAGE_EXTENSIONS:
        return "yes"
    if ending in _OTHER_EXTENSIONS:
        return "no"
    return "yes" if _ODD_EXTENSION.search(name) else "perhaps"


def may_hold_labels(name: bytes) -> bool:
    """Says whether a file or folder may name what images show: a table, or called so."""
    return extension(name) in _TABLES or (
        extension(name) in _TEXTS and not _OF_LABELS.isdisjoint(_words(os.fsdecode(name)))
    )


def split_named(name: str) -> str | None:
    """Returns the split that a name stands for: train of Training, seg_train or train2017."""
    split, rest = _split_and_rest(name)
    return None if rest else split


def splits_named(names: Iterable[str]) -> dict[str, str]:
    """Returns the splits that names beside each other stand for, by name.

    What is called alike but for a split is one, as digits_train beside digits_test.
    """
    groups: dict[frozenset[str], dict[str, str]] = defaultdict(dict)
    for name in names:
        split, rest = _split_and_rest(name)
        if split is not None:
            groups[rest][name] = split
    return {
        name: split
        for rest, group in groups.items()
        for name, split in group.items()
        if not rest or len(set(group.values())) > 1
    }


def _split_and_rest(name: str) -> tuple[str | None, frozenset[str]]:
    """Returns the one split among a name's words, and the words that say something else."""
    words = {_split_word(word) for word in _words(name)}
    said = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return said.pop() if len(said) == 1 else None, frozenset(words - _OF_SPLITS - {*SPLIT_NAMES})


def _split_word(word: str) -> str:
    """Returns train of trainset or traindata, and other words as they are."""
    for split in SPLIT_NAMES:
        if word.startswith(split) and word.removeprefix(split) in _OF_SPLITS:
            return split
    return word


def is_part(name: str) -> bool:
    """Says whether a folder is named for how data is kept: fold1, images, part A, train."""
    words = _words(name)
    return split_named(name) is not None or (
        any(word in _PARTS for word in words)
        and all(word in _PARTS or len(word) == 1 for word in words)
    )


def is_masks(name: str) -> bool:
    return is_part(name) and not _MASKS.isdisjoint(_words(name))


def is_series(name: str) -> bool:
    """Says whether a folder is named for when or how pictures were taken: 2021, day 1, 100CANON."""
    words, digits = _words(name), re.sub(r"\D", "", name)
    return all(word in _SERIES for word in words) and (bool(words) or len(digits) >= 4)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.lower()) if word]
