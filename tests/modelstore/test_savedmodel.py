"""What was pushed loads and classifies with TensorFlow alone, whoever trained it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Demo

# Loads the model where nothing that made it can be imported, runs every signature
# on the golden images, and prints the largest difference.
CHECK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {"torch", "jax", "torchax", "timm", "tensorflow_transform", "tfx_bsl", "tfx"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
import tensorflow as tf

directory, image = sys.argv[1:]
signatures = tf.saved_model.load(directory).signatures
golden = np.load(directory + "/golden.npz")
images, expected = golden["images_NHW3"], golden["scores_NC"]
files = [tf.io.encode_png(i).numpy() for i in images]

def example(encoded, label):
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded])),
        "label": tf.train.Feature(bytes_list=tf.train.BytesList(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

examples = [example(file, b"1") for file in files]
scores = [
    signatures["serving_tensor"](images=tf.constant(images))["scores"],
    signatures["serving_bytes"](images=tf.constant(files))["scores"],
    signatures["serving_default"](examples=tf.constant(examples))["scores"],
]
print(max(np.abs(s.numpy() - expected).max() for s in scores))
labels = tf.constant([example(b"", b"nine"), example(b"", b"9")])
ids = signatures["transform_features"](examples=labels)
print(int(ids["label_id"][0]), int(ids["label_id"][1]) >= 0)
top = signatures["serving_bytes"](images=tf.constant([open(image, "rb").read()]))
print(top["labels"].numpy()[0, 0].decode(), top["labels"].shape[1])
"""


def _check(python: str, directory: Path, image: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-I", "-c", CHECK, str(directory), str(image)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    difference, ids, top = done.stdout.splitlines()
    assert float(difference) < 1e-3
    assert ids == "-1 True"
    assert top == f"{image.name[0]} 5"


@pytest.mark.parametrize("name", ["digits-keras", "digits-pytorch"])
def test_pushed_model_needs_tensorflow_alone(demo: Demo, name: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved"  # nothing points back to where it was made
    shutil.copytree(demo.serving / name / "1", moved)
    _check(sys.executable, moved, demo.root / "kept-aside" / "0-0000.png", tmp_path)


@pytest.mark.slow
def test_pytorch_model_in_an_environment_with_tensorflow_alone(demo: Demo, tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", python.parent.parent], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "tensorflow"]
    install += ["--constraints", ROOT / "requirements" / "dev.txt"]
    install += ["--override", ROOT / "requirements" / "overrides.txt"]
    subprocess.run(install, check=True)
    absent = subprocess.run(
        [python, "-c", "import torch"], capture_output=True, text=True, check=False
    )
    assert "No module named 'torch'" in absent.stderr
    model = demo.serving / "digits-pytorch" / "1"
    _check(str(python), model, demo.root / "kept-aside" / "0-0000.png", tmp_path)
