"""Predictions on disk: groups of rows, the order of classes, files that are not whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError
from modelstore import predictions
from modelstore.predictions import Origin, PredictionsReader, PredictionsWriter

pytestmark = pytest.mark.quick


def write(folder: Path, images: int, batch: int) -> np.ndarray:
    scores_NC = np.random.default_rng(0).random((images, 3), np.float32)
    with PredictionsWriter(folder, "test", ["site"], 3) as writer:
        for start in range(0, images, batch):
            places = range(start, min(start + batch, images))
            values = {
                "image/path": [b"%d\xff" % i for i in places],
                "image/sha256": [f"{i:064x}" for i in places],
                "label": ["abc"[i % 3] for i in places],
                "site": [None if i % 2 else b"north" for i in places],
            }
            writer.write(values, scores_NC[places.start : places.stop])
        origin = Origin(
            **{"model_digest": "m", "class_names": ("a", "b", "c"), "engine": "onnx"},
            **{"parity": 0.0, "compared": 1, "split": "test", "columns": ("site",)},
            images=writer.images,
            images_digest=writer.images_digest,
        )
        writer.finish(origin)
    return scores_NC


@pytest.mark.parametrize(("images", "batch"), [(1, 4), (10, 4), (12, 4), (12, 5), (9, 100)])
def test_all_is_read_back_in_groups_of_one_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, batch: int
) -> None:
    monkeypatch.setattr(predictions, "_ROWS", 4)
    scores_NC = write(tmp_path, images, batch)
    reader = PredictionsReader(tmp_path)
    rows = [reader.rows(group) for group in range(reader.groups)]
    assert [len(r.labels) for r in rows] == [4] * (images // 4) + [images % 4] * (images % 4 > 0)
    np.testing.assert_array_equal(np.concatenate([r.scores_NC for r in rows]), scores_NC)
    assert [p for r in rows for p in r.paths] == [b"%d\xff" % i for i in range(images)]
    assert [s for r in rows for s in r.columns["site"]][:2] == [b"north", None][:images]


def test_scores_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    scores_NC = write(tmp_path, 5, 5)
    reader = PredictionsReader(tmp_path)
    np.testing.assert_array_equal(
        reader.rows(0, ("c", "a", "b")).scores_NC, scores_NC[:, [2, 0, 1]]
    )
    with pytest.raises(DataError, match=r"difference in 'c', 'd'"):
        reader.rows(0, ("a", "b", "d"))


def test_the_digest_tells_the_images_and_their_order(tmp_path: Path) -> None:
    write(tmp_path / "a", 5, 2)
    write(tmp_path / "b", 5, 5)
    write(tmp_path / "c", 4, 4)
    a, b, c = (PredictionsReader(tmp_path / f).origin.images_digest for f in "abc")
    assert a == b != c


def test_what_was_cut_off_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 5, 5)
    file = tmp_path / "test.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"holds no predictions that can be read"):
        PredictionsReader(tmp_path)
