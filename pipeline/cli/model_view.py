"""What `lineage model` prints: the sections of a model's facts, and the steps that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.formats import NOT_RECORDED, cell, duration
from pipeline.cli.words import moment, short
from pipeline.terminal import console, is_terminal, sections, table

if TYPE_CHECKING:
    from lineage.drawing.sections import Entry, Fact, Section
    from lineage.questions.model import ModelLineage

Pairs = list[tuple[str, str]]


def show_model(lineage: ModelLineage, *, config: bool = False, packages: bool = False) -> None:
    """Prints a model's lineage.

    Args:
      config: the run's whole config, too.
      packages: the installed packages, too.
    """
    from lineage.drawing.sections import sections as layout

    parts = layout(lineage)
    sections([pairs for section in parts for pairs in _section(section)])
    _show_steps(lineage)
    folds = [f for p in parts for e in p.entries for f in e.settings if f.folded]
    for label in ("config",) * config + ("packages",) * packages:
        pairs = next((list(f.pairs) for f in folds if f.label == label and f.pairs), None)
        heading("")
        sections([(label, pairs or [(label, NOT_RECORDED)])])


def _section(section: Section) -> list[tuple[str, Pairs]]:
    numbered = len(section.entries) > 1 and not section.listed
    return [
        (f"{section.title} {number}" if numbered else section.title, _pairs(entry))
        for number, entry in enumerate(section.entries, 1)
    ]


def _pairs(entry: Entry) -> Pairs:
    settings = [
        (s.label, ", ".join(f"{k} {v}" for k, v in s.pairs) or NOT_RECORDED)
        for s in entry.settings
        if not s.folded
    ]
    return settings + [(fact.label, _text(fact)) for fact in entry.facts]


def _text(fact: Fact) -> str:
    if fact.value is None:
        value = NOT_RECORDED
    elif fact.kind == "digest":
        value = short(fact.value)
    else:
        value = moment(fact.value) if fact.kind == "moment" else fact.value
    return f"{value}, {fact.note}" if fact.note else value


def heading(text: str) -> None:
    """A line apart, for a terminal only."""
    if is_terminal():
        console().print(f"\n{text}" if text else "", style="bold", markup=False, highlight=False)


def _show_steps(lineage: ModelLineage) -> None:
    rows = [
        (
            step.component,
            cell(step.run_id),
            moment(step.started),
            cell(step.duration_seconds, duration),
            "reused" if step.execution_id in lineage.reused else "",
        )
        for step in lineage.producers
    ]
    heading("made by")
    table(("component", "run", "when", "time", "reused"), rows, optional=("when", "run"))
