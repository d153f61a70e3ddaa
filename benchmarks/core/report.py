"""Results as Markdown, and the pages that hold them between markers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.core.figures import Figure, Question, Result, Table
from common.config.strict import dump, parse
from common.errors import ConfigError
from common.files import read_json, write_json

Results = dict[str, Result]
"""By the question's name."""


def read_results(path: Path) -> Results:
    """Returns what was measured last; nothing where nothing was."""
    return parsed(read_json(path)) if path.exists() else {}


def parsed(data: Mapping[str, object]) -> Results:
    """Returns results from their JSON."""
    return {name: parse(Result, value) for name, value in data.items()}  # type: ignore[arg-type]


def write_results(path: Path, results: Results) -> None:
    """Writes results, to be read by `read_results`."""
    write_json(path, {name: dump(result) for name, result in sorted(results.items())})


def page(questions: Iterable[Question], results: Results, plots: str) -> str:
    """Renders every question that has a result, in the order of the questions."""
    parts = [section(q, results[q.name], plots) for q in questions if q.name in results]
    return "\n\n".join(parts) if parts else "Nothing has been measured yet."


def section(question: Question, result: Result, plots: str) -> str:
    """Renders one question: command, table, plot, notes."""
    measured = result.measured
    rounds = "one round" if measured.rounds == 1 else f"medians of {measured.rounds} rounds"
    parts = [
        f"### {question.title}",
        f"{question.text}",
        f"```bash\n{command(question)}\n```",
        f"{result.day}, {rounds}; {result.machine}; commit {result.commit}; {result.versions}; "
        f"load before it {result.load:.1f}.",
        *measured.notes,
        figures_table(question, measured.figures),
        f"![{question.title}]({plots}/{question.name}.svg)",
        *(markdown(t.head, t.rows) for t in measured.tables),
    ]
    return "\n\n".join(parts)


def command(question: Question) -> str:
    """Returns what measures this question alone."""
    against = " --against OLD_CHECKOUT" if question.needs_old else ""
    return f"python -m benchmarks {question.level} --only {question.name}{against}"


def figures_table(question: Question, figures: Iterable[Figure]) -> str:
    """Renders figures beside what they should reach."""
    several = list(figures)
    units = {f.of for f in several if f.ours is not None}
    unit = f", {units.pop()}" if len(units) == 1 else ""
    if any(f.ours is not None for f in several):
        columns = [f"{question.ours}{unit}", f"{question.peer}{unit}", "ratio"]
        rows = [
            [f.what, number(f.ours), number(f.peer), shown(f.value, f.unit), reach(f), verdict(f)]
            for f in several
        ]
    else:
        columns = ["measured"]
        rows = [[f.what, shown(f.value, f.unit), reach(f), verdict(f)] for f in several]
    return markdown(("", *columns, "to reach", ""), rows)


def shown(value: float, unit: str) -> str:
    """Writes a figure's value with its unit."""
    if unit == "seconds":
        return f"{number(value)} s"
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.2f}"


def reach(figure: Figure) -> str:
    """Writes what a figure should reach."""
    if figure.reach is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {shown(figure.reach, figure.unit)}"


def verdict(figure: Figure) -> str:
    """Says whether a figure is what it should be."""
    return {None: "", True: "reached", False: "**missed**"}[figure.is_reached]


def number(value: float | None) -> str:
    """Writes a number with three digits that count, or whole."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Renders a Markdown table; all columns but the first are to the right."""
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def between_markers(text: str, name: str, block: str) -> str:
    """Returns a page with another block between its markers of this name.

    Raises:
      ConfigError: the page has no such markers.
    """
    begin, end = f"<!-- {name}: made by a command -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ConfigError(f"Expected the lines {begin} and {end} in the page, found none.")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"


def steps_table(columns: Mapping[str, Mapping[str, float]], against: str | None = None) -> Table:
    """Tables seconds by step, a column for each, and ratios to one of them."""
    names = _merged([list(steps) for steps in columns.values()])
    head = ["s"]
    for column in columns:
        head += [column] if column == against or against is None else [column, "ratio"]
    rows = []
    for name in names:
        row = [name]
        for column, steps in columns.items():
            value = steps.get(name)
            row.append("–" if value is None else f"{value:.2f}")
            if against is not None and column != against:
                peer = columns[against].get(name)
                row.append(f"{value / peer:.2f}" if value is not None and peer else "")
        rows.append(tuple(row))
    return Table(head=tuple(head), rows=tuple(rows))


def _merged(lists: list[list[str]]) -> list[str]:
    """Returns all names, each after those that it follows in its own list."""
    names: list[str] = []
    for several in lists:
        at = 0
        for name in several:
            if name not in names:
                names.insert(at, name)
            at = names.index(name) + 1
    return names
