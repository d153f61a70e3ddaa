"""TFX's cache after gc: what was removed is made again, what was kept is reused.

A real pipeline of two small components, run by TFX's runner under our launcher.
"""

import shutil
from pathlib import Path

import pytest
from conftest import Store
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.types.standard_artifacts import Examples, Model

from lineage.storage.gc import plan
from lineage.storage.removal import collect, mark
from lineage.store.opening import open_reader
from lineage.store.workspace import Workspace
from pipeline.recording.recorder import Recorder, recording


@component
def Maker(examples: OutputArtifact[Examples], seed: Parameter[int]) -> None:
    Path(examples.uri, "data.txt").write_text(str(seed))


@component
def Taker(examples: InputArtifact[Examples], model: OutputArtifact[Model]) -> None:
    Path(model.uri, "data.txt").write_text(Path(examples.uri, "data.txt").read_text())


class Tiny:
    """An output folder in which the pipeline has run with two seeds."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.workspace.claim("tiny")
        self.runs = 0

    def run(self, seed: int) -> list[str]:
        """The states of Maker and Taker."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        maker = Maker(seed=seed)
        pipeline = Pipeline(
            pipeline_name="tiny",
            pipeline_root=str(self.workspace.artifacts),
            components=[maker, Taker(examples=maker.outputs["examples"])],
            metadata_connection_config=self.workspace.connection.mlmd_config(),
            enable_cache=True,
        )
        ir = compiler.Compiler().compile(pipeline)
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        recorder = Recorder(pipeline.metadata_connection_config, "tiny", run_id)
        with recording(recorder, before=lambda node: None):
            LocalDagRunner().run_with_ir(ir)
        states = Store(self.workspace.root).states(run_id)
        return [states["Maker"], states["Taker"]]

    def uris(self, state: str) -> list[Path]:
        reader = open_reader(self.workspace.connection)
        found = [Path(a.uri) for a in reader.all_artifacts() if a.state == state]
        reader.close()
        return found


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    tiny = Tiny(tmp_path / "out")
    assert tiny.run(seed=1) == ["COMPLETE"] * 2
    assert tiny.run(seed=1) == ["CACHED"] * 2
    assert tiny.run(seed=2) == ["COMPLETE"] * 2
    return tiny


def test_what_gc_removed_is_made_again_and_what_it_kept_is_reused(tiny: Tiny) -> None:
    done = collect(tiny.workspace, tiny.workspace.connection, 1, lambda done, total: None)
    assert done.removed == 2 and [u.exists() for u in tiny.uris("DELETED")] == [False] * 2
    assert tiny.run(seed=2) == ["CACHED"] * 2
    assert tiny.run(seed=1) == ["COMPLETE"] * 2
    assert tiny.run(seed=1) == ["CACHED"] * 2
    assert sorted((u / "data.txt").read_text() for u in tiny.uris("LIVE")) == ["1", "1", "2", "2"]


def test_what_is_marked_is_not_reused_though_its_files_are_there(tiny: Tiny) -> None:
    """As a gc leaves it that was killed after marking."""
    reader = open_reader(tiny.workspace.connection)
    found = plan(reader, tiny.workspace.artifacts, 1)
    reader.close()
    mark(tiny.workspace.connection, [i.artifact_id for i in found.remove], 1)
    assert [u.exists() for u in tiny.uris("DELETED")] == [True] * 2
    assert tiny.run(seed=1) == ["COMPLETE"] * 2


def test_what_somebody_removed_by_hand_is_made_again(tiny: Tiny) -> None:
    (model,) = (
        u for u in tiny.uris("LIVE") if (u / "data.txt").read_text() == "2" and "model" in str(u)
    )
    shutil.rmtree(model)
    assert tiny.run(seed=2) == ["CACHED", "COMPLETE"]
    shutil.rmtree(tiny.workspace.artifacts / "Maker" / "examples")
    assert tiny.run(seed=2) == ["COMPLETE"] * 2
