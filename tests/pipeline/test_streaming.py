"""A pipeline whose training streams writes no arrays."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.array_gen.component import ArrayGen
from components.trainer.component import Trainer
from lineage.store.workspace import Workspace
from pipeline.config import load_config
from pipeline.dag import create_pipeline


@pytest.mark.parametrize("source", ["arrays", "stream"])
def test_arrays_are_made_where_they_are_read(tmp_path: Path, source: str) -> None:
    given = {
        "data.path": str(tmp_path),
        "transform.image_size": [16, 24],
        "train.framework": "keras",
        "train.model": "small_cnn",
        "train.input": source,
        "evaluate.min_accuracy": 0.5,
    }
    pipeline = create_pipeline(load_config(None, given), Workspace(tmp_path))
    (trainer,) = (node for node in pipeline.components if isinstance(node, Trainer))
    streams = source == "stream"
    assert any(isinstance(node, ArrayGen) for node in pipeline.components) != streams
    assert ("arrays" in trainer.inputs) != streams
    assert trainer.exec_properties.get("image_size") == ("[16, 24]" if streams else None)
    assert trainer.inputs.keys() >= {"raw_examples", "transform_graph"}
