"""SIGKILL at any moment of a training: the same command ends as if nothing had been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import python

from trainers.frameworks import frameworks

pytestmark = pytest.mark.pipelines


@pytest.mark.parametrize("framework", frameworks())
@pytest.mark.parametrize(
    "kills", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_a_killed_training_ends_equal_to_the_bit(
    framework: str, kills: int, tmp_path: Path
) -> None:
    """Weights, optimizer, generators, history and curves; some are killed in the export."""
    program = Path(__file__).parents[1] / "support" / "killed_training.py"
    done = 0
    while done < kills:
        (folder := tmp_path / str(done)).mkdir()
        at_once = str(min(kills, 20))
        ended = python(str(program), framework, str(folder), at_once, str(done))
        assert ended.returncode == 0, ended.stderr
        counts = json.loads(ended.stdout)
        assert counts["trainings"] >= 1 and counts["differing"] == []
        done += counts["kills"]
