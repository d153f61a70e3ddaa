"""`visionline lineage model` and `lineage why-not-blessed`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Exit
from common.formats import NOT_RECORDED, cell, known, share
from lineage.graph.producers import BASELINE
from lineage.questions.model import model_lineage
from lineage.questions.verdicts import WhyNotBlessed
from lineage.questions.verdicts import why_not_blessed as ask
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.model_view import heading, show_model
from pipeline.cli.options import RefArgument
from pipeline.cli.words import moment
from pipeline.terminal import facts, table


@asks
def model(
    ref: RefArgument,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Show the ancestry of its baselines, too.")
    ] = False,
    config: Annotated[
        bool, typer.Option("--config", help="Show the run's whole config, too.")
    ] = False,
    packages: Annotated[
        bool, typer.Option("--packages", help="Show the packages that were installed, too.")
    ] = False,
    *,
    store: Store,
) -> None:
    """Show what produced a model, what judged it, where it was pushed."""
    with store.open(ref) as reader:
        lineage = model_lineage(reader, ref, cut=() if baseline else BASELINE)
    store.answer("model", lineage, lambda m: show_model(m, config=config, packages=packages))


@asks
def why_not_blessed(
    ref: RefArgument,
    *,
    store: Store,
) -> None:
    """Explain which thresholds a model missed, and by how much; or why it could not be served."""
    with store.open(ref) as reader:
        answer = ask(reader, ref)
    store.answer("why-not-blessed", answer, _show_why_not)
    if answer.blessed:
        raise typer.Exit(Exit.NOTHING_FOUND)


def _show_why_not(answer: WhyNotBlessed) -> None:
    verdict, infra = answer.verdict, answer.infra
    value = known(verdict.headline_value, share)
    which = [
        ("artifact", f"{answer.model.artifact_id}, {answer.model.uri}"),
        ("judged", f"{moment(verdict.when)}, by the run {known(verdict.run_id)}"),
    ]
    if verdict.blessed:
        which.append((verdict.headline, value))
        if infra is None or infra.blessed is not False:
            facts("it was blessed", which)
            return
        facts("blessed by the Evaluator", which)
        heading("")
        trial = f"{moment(infra.when)}, by the run {known(infra.run_id)}"
        why = infra.why_not_blessed or NOT_RECORDED
        facts("not blessed by infra validation", [("tried", trial), ("why", why)])
        return
    facts("not blessed" if verdict.blessed is False else "the verdict is not recorded", which)
    if answer.failed:
        heading("")
        table(
            ("metric", "on", "kind", "threshold", "actual", "baseline", "missed by"),
            [
                (
                    f.metric,
                    f.where,
                    f.kind,
                    cell(f.threshold, share),
                    cell(f.actual, share),
                    cell(f.baseline, share),
                    cell(f.shortfall, share),
                )
                for f in answer.failed
            ],
            optional=("kind", "metric"),
        )
    numbers = {str(f) for f in answer.failed or ()}
    rest = [("why", r) for r in verdict.why_not_blessed if r not in numbers]
    if not answer.failed and not rest:
        rest = [("why", NOT_RECORDED), ("evaluation", cell(answer.evaluation))]
    if rest:
        heading("")
        facts("reasons", rest)
