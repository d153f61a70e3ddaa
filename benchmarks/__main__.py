"""Measures visionline beside its peers and limits: `python -m benchmarks bench`.

bench is quick, full is all; both write benchmarks/results.json, the page RESULTS.md and its
plots, and say what is slower than the last committed figures.  What is finished at this commit is
not measured again, unless --fresh.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.core import machine, plots, report
from benchmarks.core.compare import compare
from benchmarks.core.figures import Question, Result
from benchmarks.core.lab import Lab
from benchmarks.core.processes import Checkout, FailedError
from benchmarks.core.workloads import Workloads
from benchmarks.questions import QUESTIONS
from benchmarks.scaling import write_scaling

RESULTS = machine.ROOT / "benchmarks" / "results.json"
PAGE = machine.ROOT / "benchmarks" / "RESULTS.md"
PLOTS = machine.ROOT / "benchmarks" / "plots"
MARKER = "benchmarks"
_FULL_ROUNDS = 3


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    if options.what == "page":
        write_page(report.read_results(RESULTS))
        return 0
    if options.what == "scaling":
        write_scaling(report.read_results(RESULTS))
        return 0
    asked = chosen(options)
    lab = _lab(options)
    lab.say(f"{machine.machine()}; everything is kept in {lab.done}.")
    lab.warm_disk()
    found, failed = ask_all(lab, asked, is_kept=not options.trial)
    _tell(found, failed)
    return 1 if failed else 0


def chosen(options: argparse.Namespace) -> list[Question]:
    """Returns the questions to ask, by level or by name."""
    if unknown := set(options.only) - {q.name for q in QUESTIONS}:
        names = ", ".join(q.name for q in QUESTIONS)
        sys.exit(f"There is no question {', '.join(sorted(unknown))}; there are {names}.")
    if options.only:
        return [q for q in QUESTIONS if q.name in options.only]
    return [q for q in QUESTIONS if options.what == "full" or q.level == "bench"]


def ask_all(
    lab: Lab, questions: Sequence[Question], *, is_kept: bool
) -> tuple[report.Results, list[str]]:
    """Asks the questions that are not answered yet; returns answers, and what failed."""
    found: report.Results = {}
    failed = []
    for question in questions:
        result = lab.answered(question)
        if result is not None:
            lab.say(f"{question.name}: finished before at this commit.")
        else:
            lab.say(f"{question.name}: {question.title}")
            try:
                result = ask(lab, question)
            except FailedError as e:
                lab.say(f"{question.name} failed: {e}")
                failed.append(question.name)
                continue
            lab.keep(question, result)
        found[question.name] = result
        print(f"\n{report.section(question, result, PLOTS.name)}\n", flush=True)
        if is_kept:
            results = report.read_results(RESULTS) | {question.name: result}
            report.write_results(RESULTS, results)
            write_page(results)
    return found, failed


def ask(lab: Lab, question: Question) -> Result:
    """Asks one question, and adds when and where."""
    load = os.getloadavg()[0]
    measured = question.ask(lab)
    return Result(
        measured=measured,
        day=datetime.date.today().isoformat(),
        commit=lab.commit,
        machine=machine.machine(),
        versions=machine.versions(),
        load=load,
    )


def write_page(results: report.Results) -> None:
    """Writes the plots, and RESULTS.md between its markers."""
    for question in QUESTIONS:
        if question.name in results:
            figures = results[question.name].measured.figures
            plots.draw(figures, PLOTS / f"{question.name}.svg")
    block = report.page(QUESTIONS, results, PLOTS.name)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(report.between_markers(text, MARKER, block), "utf-8")


def _tell(found: report.Results, failed: Sequence[str]) -> None:
    committed = machine.committed(RESULTS.relative_to(machine.ROOT).as_posix())
    before = report.parsed(json.loads(committed)) if committed else {}
    for sentence in compare(found, before) or ["Nothing is slower than the committed figures."]:
        print(sentence)
    missed = [
        f"{name}, {figure.what}: {report.shown(figure.value, figure.unit)}, not "
        f"{report.reach(figure)}"
        for name, result in found.items()
        for figure in result.measured.figures
        if figure.is_reached is False
    ]
    for sentence in missed:
        print(f"Missed: {sentence}.")
    if failed:
        print(f"Failed: {', '.join(failed)}; the same command asks these again.")


def _lab(options: argparse.Namespace) -> Lab:
    archive = options.cifar.absolute() if options.cifar and options.cifar.is_file() else None
    if options.cifar and archive is None:
        print(f"No file {options.cifar}: small images are drawn instead.", file=sys.stderr)
    kind = "trial" if options.trial else "cifar" if archive else "drawn"
    work = options.work.absolute()
    commit = machine.commit()
    done = work / f"{commit}-{kind}"
    if options.fresh:
        shutil.rmtree(done, ignore_errors=True)
    return Lab(
        done=done,
        workloads=Workloads(work / "images", archive),
        old=Checkout(options.against.absolute()) if options.against else None,
        rounds=_FULL_ROUNDS if options.what == "full" else 1,
        is_trial=options.trial,
        commit=commit,
    )


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        choices=["bench", "full", "page", "scaling"],
        help="page: write RESULTS.md and plots anew; scaling: the table of docs/scaling.md",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these questions")
    parser.add_argument("--cifar", type=Path, help="tar of CIFAR-10's training images as JPEGs")
    parser.add_argument("--against", type=Path, help="an older checkout to compare with")
    work = machine.ROOT / "build" / "bench"
    parser.add_argument("--work", type=Path, default=work, help="default: build/bench")
    parser.add_argument("--fresh", action="store_true", help="measure what is finished again")
    parser.add_argument(
        "--trial",
        action="store_true",
        help="a fiftieth of the images, to try the harness; nothing is kept on the page",
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
