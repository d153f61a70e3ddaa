"""`lineage why-not-blessed`: which threshold was missed, on what, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.config.strict import parse
from common.errors import ConfigError, NotFoundError
from common.record.kinds import BLESSING, EVALUATION, EVALUATOR
from common.record.record import value_of
from common.record.steps import Verdict
from components.evaluator.verdict import FailedThreshold
from lineage.graph import facts
from lineage.graph.producers import BASELINE, runs_of
from lineage.graph.refs import find_artifact, find_model
from lineage.questions.model import Judged
from lineage.store.reader import Reader
from lineage.store.records import Artifact, Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNotBlessed:
    """A model's verdict, and what it rests on."""

    model: facts.ModelFacts
    verdict: facts.Verdict
    """Its `why_not_blessed` has the reasons in words."""
    failed: tuple[FailedThreshold, ...] | None
    """The thresholds that were missed; None where only words were recorded, or nothing."""
    evaluation: str | None
    """URI of the evaluation, which TensorFlow Model Analysis reads."""
    infra: facts.InfraVerdict | None
    """What the server made of it, after this verdict, or why it was skipped; None: neither is
    recorded."""

    @property
    def blessed(self) -> bool | None:
        """By the Evaluator and, where it was tried, by the server."""
        if self.infra is not None and self.infra.blessed is False:
            return False
        return self.verdict.blessed


def why_not_blessed(reader: Reader, ref: str) -> WhyNotBlessed:
    """The verdict on the model that `ref` means: the newest, or that of the run named.

    Raises:
      NotFoundError: there is no such model, or it was never judged.
    """
    model = find_model(reader, ref)
    judged = Judged.of(reader, model)
    runs = runs_of(reader, list(judged.executions.values()))
    verdicts = judged.verdicts(reader, runs)
    if not verdicts:
        raise NotFoundError(_never_judged(reader, model))
    verdict = _meant(reader, ref, verdicts)
    execution = judged.executions[verdict.execution_id]
    evaluation = judged.made(execution.id).get(EVALUATION)
    return WhyNotBlessed(
        model=facts.model_facts(model),
        verdict=verdict,
        failed=_failed(execution),
        evaluation=evaluation.uri if evaluation else None,
        infra=_after(judged, verdict, judged.infra_verdicts(runs)),
    )


def _after(
    judged: Judged, verdict: facts.Verdict, trials: Sequence[facts.InfraVerdict]
) -> facts.InfraVerdict | None:
    """The trial in the server that followed a verdict."""
    blessing = judged.made(verdict.execution_id).get(BLESSING)
    judged_on = {
        e.execution_id
        for e in judged.events
        if e.kind == "input" and blessing is not None and e.artifact_id == blessing.id
    }
    # TFX's own InfraValidator is not given the Evaluator's verdict.
    same = [v for v in trials if v.execution_id in judged_on]
    same = same or [v for v in trials if v.run_id is not None and v.run_id == verdict.run_id]
    return same[-1] if same else None


def _meant(reader: Reader, ref: str, verdicts: Sequence[facts.Verdict]) -> facts.Verdict:
    of_run = [v for v in verdicts if v.run_id == ref]
    if of_run:
        return of_run[-1]
    artifact = find_artifact(reader, ref)
    makers = reader.producers([artifact.id]).values() if artifact else ()
    named = [v for v in verdicts if v.execution_id in makers]
    return (named or list(verdicts))[-1]


def _failed(evaluator: Execution) -> tuple[FailedThreshold, ...] | None:
    recorded = value_of(evaluator, Verdict.failed_thresholds)
    if recorded is None:
        return None
    try:
        return tuple(parse(FailedThreshold, each) for each in recorded)
    except (ValueError, TypeError, ConfigError):
        return None  # of a later version; the words are still there


def _never_judged(reader: Reader, model: Artifact) -> str:
    """What is known of evaluations that came to no verdict."""
    message = f"The model {model.id} ({model.uri}) was never evaluated"
    inputs = [e for e in reader.consumers([model.id]) if e.key not in BASELINE]
    tried = reader.executions({e.execution_id for e in inputs})
    for execution in sorted(tried.values(), key=lambda e: -e.id):
        if execution.type.rpartition(".")[2] != EVALUATOR:
            continue
        error = facts.step(execution, None).error
        return f"{message} to the end: its {execution.component} is {execution.state}" + (
            f": {error}" if error else "."
        )
    return f"{message}, so there is no verdict."
