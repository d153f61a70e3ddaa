"""`visionline lineage explain-cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from common.formats import NOT_RECORDED
from lineage.cache.explain import CacheExplanation
from lineage.cache.explain import explain_cache as explain
from pipeline.cli.lineage.asking import Store, asks
from pipeline.cli.options import RefArgument
from pipeline.terminal import console, facts, is_terminal


@asks
def explain_cache(
    ref: RefArgument,
    component: Annotated[str, typer.Argument(help="Name a component of the run, such as Trainer.")],
    *,
    store: Store,
) -> None:
    """Explain why a component of a run was taken from the cache, or was not."""
    with store.open(ref) as reader:
        explanation = explain(reader, ref, component)
    store.answer("explain-cache", explanation, _show_explanation)


def _show_explanation(explanation: CacheExplanation) -> None:
    if not is_terminal():
        typer.echo(f"{explanation.outcome}\t{explanation.summary}")
    else:
        console().print(explanation.summary, markup=False, highlight=False, style="bold")
    if len(explanation.chain) > 1:
        typer.echo("")
        for reason in explanation.chain:
            typer.echo(f"{'  ' * reason.depth}{reason.component}: {reason.text}")
        typer.echo("")
    if explanation.compared_with is not None:
        work = explanation.compared_with
        place = f"execution {work.execution_id} of run {work.run_id or NOT_RECORDED}"
        pairs = [("execution", str(explanation.execution_id)), ("compared with", place)]
        facts("nearest earlier execution", pairs)
    if explanation.outcome == "miss" and not explanation.exact:
        typer.echo(
            "The parts of its key were not recorded: only inputs and parameters were compared."
        )
