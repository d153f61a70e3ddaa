"""Small data sets as people have them: the same images in Parquet, tars, zips and TFRecords."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pyarrow import ipc

Pictures = dict[str, bytes]
"""Path, `CLASS/NAME.png`, → encoded image."""
CLASSES = ("cat", "žába")


def png(shade: int, size: tuple[int, int] = (8, 6)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (shade % 256, shade // 256, 7)).save(file, "PNG")
    return file.getvalue()


def pictures(per_class: int = 20) -> Pictures:
    return {
        f"{label}/{n}.png": png(n + per_class * number)
        for number, label in enumerate(CLASSES)
        for n in range(per_class)
    }


def label_of(path: str) -> str:
    return path.split("/", maxsplit=1)[0]


def as_folder(folder: Path, images: Pictures) -> Path:
    for path, data in images.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def hugging_face(columns: Mapping[str, Sequence[str] | None]) -> dict[str, str]:
    """The schema's metadata: columns → names of their classes, None for images."""
    features = {
        name: {"_type": "Image"} if names is None else {"names": names, "_type": "ClassLabel"}
        for name, names in columns.items()
    }
    return {"huggingface": json.dumps({"info": {"features": features}})}


def write_parquet(file: Path, columns: Mapping[str, Any], names: Mapping[str, Any] = {}) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(dict(columns))
    pq.write_table(table.replace_schema_metadata(hugging_face(names)) if names else table, file)
    return file


def _rows(images: Pictures) -> dict[str, Any]:
    return {
        "image": [{"bytes": data, "path": path.split("/")[1]} for path, data in images.items()],
        "label": [CLASSES.index(label_of(path)) for path in images],
    }


def as_parquet(file: Path, images: Pictures) -> Path:
    """As Hugging Face's library writes a folder of images."""
    return write_parquet(file, _rows(images), {"image": None, "label": CLASSES})


def as_arrow(file: Path, images: Pictures, *, stream: bool = True) -> Path:
    """As Hugging Face's library saves a folder of images; without `stream`, as Feather."""
    file.parent.mkdir(parents=True, exist_ok=True)
    names = hugging_face({"image": None, "label": CLASSES})
    table = pa.table(_rows(images)).replace_schema_metadata(names)
    new = ipc.new_stream if stream else ipc.new_file
    with new(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return file


def write_tar(file: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def write_zip(file: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file


def as_webdataset(file: Path, images: Pictures) -> Path:
    members = []
    for number, (path, data) in enumerate(images.items()):
        members += [(f"{number:06}.png", data), (f"{number:06}.cls", label_of(path).encode())]
    return write_tar(file, members)


def write_tfrecord(file: Path, examples: Iterable[Mapping[str, bytes | int]]) -> Path:
    import tensorflow as tf

    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for values in examples:
            example = tf.train.Example()
            for name, value in values.items():
                feature = example.features.feature[name]
                kind = feature.bytes_list if isinstance(value, bytes) else feature.int64_list
                kind.value.append(value)
            writer.write(example.SerializeToString())
    return file


def as_tfds(folder: Path, images: Pictures) -> Path:
    """As TFDS prepares it."""
    examples: list[dict[str, bytes | int]] = [
        {"image": data, "label": CLASSES.index(label_of(path))} for path, data in images.items()
    ]
    write_tfrecord(folder / "toy-train.tfrecord-00000-of-00001", examples)
    (folder / "label.labels.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "features.json").write_text("{}")
    return folder
