"""`lineage model` and `lineage served`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.lineage import (
    JsonOption,
    MetadataOption,
    OutputOption,
    RefArgument,
    answer_json,
    app,
    asking,
)

if TYPE_CHECKING:
    from pipeline.lineage.model import ModelLineage


@app.command()
def model(
    ref: RefArgument,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="The ancestry of its baselines, too.")
    ] = False,
    output: OutputOption = None,
    metadata: MetadataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What produced a model, what judged it, where it was pushed."""
    from pipeline.lineage.graph import BASELINE
    from pipeline.lineage.model import model_lineage

    with asking(output, metadata, ref) as reader:
        found = model_lineage(reader, ref, cut=() if baseline else BASELINE)
    if as_json:
        answer_json("model", found)
    else:
        _show(found)


def _show(found: ModelLineage) -> None:
    from pipeline.terminal import facts

    facts("model", [("artifact", str(found.model.artifact_id)), ("uri", found.model.uri)])
