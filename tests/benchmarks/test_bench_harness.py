"""The harness of the benchmarks: workloads, processes, figures and their pages; nothing timed."""

from __future__ import annotations

import dataclasses
import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import ROOT
from PIL import Image

import benchmarks.__main__ as command
from benchmarks import scaling
from benchmarks.core import report
from benchmarks.core.compare import compare
from benchmarks.core.figures import Figure, Measured, Question, Result, ratio, seconds
from benchmarks.core.lab import Lab, median
from benchmarks.core.plots import draw
from benchmarks.core.processes import Checkout, FailedError, Watched, times_on_terminal, watch
from benchmarks.core.runs import Run, memory_by_step
from benchmarks.core.workloads import Workloads
from benchmarks.questions import QUESTIONS
from common.config.strict import dump
from common.errors import ConfigError

pytestmark = pytest.mark.quick


def result(*figures: Figure, machine: str = "one", runs: dict[str, object] | None = None) -> Result:
    return Result(
        measured=Measured(figures=figures, runs=runs or {}),
        day="2026-11-30",
        commit="abc",
        machine=machine,
        versions="Python 3.11",
        load=0.0,
    )


def question(ask: Callable[[Lab], Measured], name: str = "speed") -> Question:
    return Question(name=name, title="Speed", text="How fast.", ask=ask, peer="a peer")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


# Workloads


def test_drawn_images_are_of_ten_classes_and_no_two_alike(tmp_path: Path) -> None:
    drawn = files(Workloads(tmp_path, None).small(40))
    assert len(set(drawn.values())) == 40
    assert {Path(name).parent.name for name in drawn} == {f"class-{n}" for n in range(10)}
    assert Image.open(io.BytesIO(next(iter(drawn.values())))).size == (32, 32)


def test_more_images_begin_with_the_same(tmp_path: Path) -> None:
    workloads = Workloads(tmp_path, None)
    few, many = files(workloads.small(20)), files(workloads.small(40))
    assert few.items() < many.items()


def test_a_split_holds_no_image_twice(tmp_path: Path) -> None:
    folder = Workloads(tmp_path, None).small_split(20, 30)
    train, val = files(folder / "train"), files(folder / "val")
    assert (len(train), len(val)) == (20, 30)
    assert not set(train.values()) & set(val.values())


def test_photographs_are_about_500_by_375_and_say_of_which_camera(tmp_path: Path) -> None:
    for path in Workloads(tmp_path, None).photographs(10).rglob("*.jpg"):
        with Image.open(path) as image:
            assert 450 <= image.width <= 550
            assert 337 <= image.height <= 413
            assert image.getexif()[0x0110] == "Camera"


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = tmp_path / "images.tar.gz"
    drawn = Workloads(tmp_path / "drawn", None).small(40)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(drawn, "train")
    workloads = Workloads(tmp_path / "work", archive)
    assert files(workloads.small(20)).items() < files(drawn).items()
    archive.unlink()
    assert files(workloads.small(40)) == files(drawn)


def test_too_few_images_are_no_workload(tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(Workloads(tmp_path / "drawn", None).small(10), "train")
    with pytest.raises(ValueError, match=r"Expected 2 JPEGs in .*class-0, found 1"):
        Workloads(tmp_path / "work", archive).small(20)


# Processes


def test_lines_come_with_their_times(tmp_path: Path) -> None:
    code = "print('A: running'); print('A: done'); import sys; print('aside', file=sys.stderr)"
    watched = watch([sys.executable, "-c", code], tmp_path / "log")
    assert [line for _, line in watched.lines] == ["A: running", "A: done"]
    assert watched.first(lambda line: line.endswith("done")) == watched.lines[1][0]
    assert watched.lines[0][0] <= watched.lines[1][0] <= watched.seconds
    assert "aside" in (tmp_path / "log").read_text()


WAITING = (
    # Short sleeps: a signal that comes just before one does not end it.
    "import time\ntry:\n print('B: running', flush=True)\n while True: time.sleep(0.05)\n"
    "except KeyboardInterrupt:\n print('stopped'); raise SystemExit(130)"
)


def test_a_process_is_stopped_where_asked(tmp_path: Path) -> None:
    watched = watch(
        [sys.executable, "-c", WAITING], tmp_path / "log", until=lambda line: line.startswith("B:")
    )
    assert watched.lines[-1][1] == "stopped"


@pytest.mark.parametrize("code", ["raise SystemExit('no disk')", "print('C: running')"])
def test_a_process_that_fails_or_ends_too_early_is_no_measurement(
    tmp_path: Path, code: str
) -> None:
    words = [sys.executable, "-c", code]
    with pytest.raises(FailedError, match=r"no disk|C: running"):
        watch(words, tmp_path / "log", until=lambda line: line.startswith("B:"))


def test_what_a_terminal_shows_is_timed() -> None:
    words = {"first": b"", "running": b"running"}
    times = times_on_terminal([sys.executable, "-c", WAITING], words, checkout=Checkout())
    assert 0 < times["first"] <= times["running"]
    with pytest.raises(FailedError, match="ended too early"):
        times_on_terminal([sys.executable, "-c", ""], {"x": b"x"}, checkout=Checkout())


def test_memory_is_of_the_steps_that_ran() -> None:
    watched = Watched(
        seconds=9,
        cpu_seconds=1,
        lines=((1, "A: running"), (4, "A: done (3.0 s)"), (5, "B: running"), (6, "C: running")),
        memory=((0.5, 10), (2, 30), (3, 20), (4.5, 90), (5.5, 40), (7, 50)),
    )
    assert memory_by_step(watched) == {"start": 10, "A": 30, "B": 50, "C": 50}


def run(seconds: float = 10.0, **steps: float) -> Run:
    return Run(images=50_000, seconds=seconds, cpu_seconds=1.0, steps=steps, first_line=0.1)


def test_medians_are_of_each_figure() -> None:
    several = [run(3, A=1, B=9), run(1, A=2, B=8), run(2, A=3, B=1)]
    assert median(several) == run(2, A=2, B=8)


# Figures and pages


def test_a_table_says_what_is_reached() -> None:
    asked = question(lambda lab: Measured(figures=()))
    figures = (
        ratio("a run", 3.0, 10.0, reach=0.4),
        ratio("a rate", 5.0, 10.0, reach=0.6, at_least=True),
        ratio("aside", 30.0, 20.0),
    )
    assert report.figures_table(asked, figures) == (
        "|  | visionline, s | a peer, s | ratio | to reach |  |\n"
        "|---|---:|---:|---:|---:|---:|\n"
        "| a run | 3.00 | 10.0 | 0.30 | ≤ 0.40 | reached |\n"
        "| a rate | 5.00 | 10.0 | 0.50 | ≥ 0.60 | **missed** |\n"
        "| aside | 30.0 | 20.0 | 1.50 |  |  |"
    )


def test_seconds_and_shares_need_no_peer() -> None:
    asked = question(lambda lab: Measured(figures=()))
    waits = Figure(what="waits", value=0.012, unit="share", reach=0.03)
    assert report.figures_table(asked, [seconds("a start", 1.25, reach=1.0), waits]) == (
        "|  | measured | to reach |  |\n"
        "|---|---:|---:|---:|\n"
        "| a start | 1.25 s | ≤ 1.00 s | **missed** |\n"
        "| waits | 1.2 % | ≤ 3.0 % | reached |"
    )


def test_steps_keep_their_order_whoever_has_them() -> None:
    table = report.steps_table({"peer": {"A": 1, "D": 4}, "ours": {"A": 2, "C": 3}}, against="peer")
    assert table.head == ("s", "peer", "ours", "ratio")
    assert table.rows == (
        ("A", "1.00", "2.00", "2.00"),
        ("C", "–", "3.00", ""),
        ("D", "4.00", "–", ""),
    )


def test_only_what_is_between_the_markers_is_replaced() -> None:
    page = "a\n<!-- x: made by a command -->\nold\n<!-- end of x -->\nb\n"
    made = report.between_markers(page, "x", "new")
    assert made == "a\n<!-- x: made by a command -->\n\nnew\n\n<!-- end of x -->\nb\n"
    assert report.between_markers(made, "x", "new") == made
    with pytest.raises(ConfigError, match="Expected the lines"):
        report.between_markers(page, "y", "new")


def test_results_are_read_as_written(tmp_path: Path) -> None:
    results = {"speed": result(ratio("a run", 3.0, 10.0), seconds("a start", 1.0))}
    report.write_results(tmp_path / "r.json", results)
    assert report.read_results(tmp_path / "r.json") == results
    assert report.read_results(tmp_path / "none.json") == {}


def test_equal_figures_give_equal_plots(tmp_path: Path) -> None:
    figures = [ratio("a run", 3.0, 10.0, reach=0.4), seconds("a start", 1.0)]
    for name in ("a.svg", "b.svg"):
        draw(figures, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "a run" in (tmp_path / "a.svg").read_text()


# Comparing


def test_what_is_a_fifth_slower_is_told() -> None:
    before = {"speed": result(ratio("run", 4, 10), ratio("rate", 8, 10, reach=0.6, at_least=True))}
    worse = {"speed": result(ratio("run", 5, 10), ratio("rate", 6, 10, reach=0.6, at_least=True))}
    near = {"speed": result(ratio("run", 4.7, 10), ratio("rate", 7, 10, at_least=True))}
    assert compare(worse, before) == [
        "speed, run: 0.50, and 0.40 before (2026-11-30, commit abc).",
        "speed, rate: 0.60, and 0.80 before (2026-11-30, commit abc).",
    ]
    assert compare(near, before) == []
    assert compare(before, worse) == []


def test_another_machine_is_no_regression() -> None:
    before = {"speed": result(ratio("run", 1, 10), machine="another")}
    now = {"speed": result(ratio("run", 9, 10)), "size": result(ratio("run", 9, 10))}
    assert compare(now, before) == [
        "Not compared, as the committed figures are of another machine: speed.",
        "Not compared, as there are no committed figures: size.",
    ]


# The command


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    page = "<!-- benchmarks: made by a command -->\n<!-- end of benchmarks -->\n\nold\n"
    (tmp_path / "RESULTS.md").write_text(page)
    monkeypatch.setattr(command, "PAGE", tmp_path / "RESULTS.md")
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "PLOTS", tmp_path / "plots")
    return Lab(done=tmp_path / "done", workloads=Workloads(tmp_path / "images", None))


def test_what_is_finished_is_not_measured_again(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    works = False

    def ask_first(lab: Lab) -> Measured:
        asked.append("first")
        return Measured(figures=(ratio("run", 3.0, 10.0, reach=0.4),))

    def ask_second(lab: Lab) -> Measured:
        asked.append("second")
        if not works:
            raise FailedError("no disk")
        return Measured(figures=(seconds("start", 1.0),))

    questions = (question(ask_first, "first"), question(ask_second, "second"))
    monkeypatch.setattr(command, "QUESTIONS", questions)
    found, failed = command.ask_all(lab, questions, is_kept=True)
    assert (set(found), failed) == ({"first"}, ["second"])
    works = True
    found, failed = command.ask_all(lab, questions, is_kept=True)
    assert (set(found), failed) == ({"first", "second"}, [])
    assert asked == ["first", "second", "second"]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| run | 3.00 | 10.0 | 0.30 | ≤ 0.40 | reached |" in page
    assert page.endswith("old\n")
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"first.svg", "second.svg"}
    more = dataclasses.replace(lab, rounds=3)
    command.ask_all(more, questions[:1], is_kept=False)
    assert asked[3:] == ["first"]


def test_a_run_is_made_once(lab: Lab) -> None:
    made = []

    def measure() -> Run:
        made.append(1)
        return run(A=1)

    assert lab.once("cold", measure) == lab.once("cold", measure) == run(A=1)
    assert len(made) == 1


def test_a_trial_takes_few_images(lab: Lab) -> None:
    assert lab.count(50_000) == 50_000
    trial = dataclasses.replace(lab, is_trial=True)
    assert [trial.count(n) for n in (50_000, 400)] == [1_000, 300]


def test_questions_are_chosen_by_level_or_name() -> None:
    def names(*words: str) -> set[str]:
        return {q.name for q in command.chosen(command._options(words))}

    everything = {q.name for q in QUESTIONS}
    assert len(everything) == len(QUESTIONS)
    assert names("full") == everything
    assert names("bench") < everything
    assert names("bench", "--only", "memory") == {"memory"}
    with pytest.raises(SystemExit, match="no question sped; there are stock-10000"):
        names("bench", "--only", "sped")


# What is committed


def test_the_page_is_what_the_results_say() -> None:
    results = report.read_results(command.RESULTS)
    text = command.PAGE.read_text()
    block = report.page(QUESTIONS, results, command.PLOTS.name)
    assert report.between_markers(text, command.MARKER, block) == text
    for name in results:
        assert (command.PLOTS / f"{name}.svg").is_file()


def test_a_million_images_are_reckoned_from_the_runs_of_growth() -> None:
    runs = {"keras": dump(run(100.0, ImageExampleGen=30.0, Trainer=50.0))}
    table = scaling.table({scaling.GROWTH: result(ratio("x", 1, 1), runs=runs)})
    assert "Measured on 50,000 images and multiplied, 2026-11-30" in table
    assert "| ImageExampleGen | 10.0 |" in table
    assert "| the whole process | 33.3 |" in table
    with pytest.raises(ConfigError, match="`python -m benchmarks full` measures them"):
        scaling.table({})


def test_the_page_of_scaling_is_what_the_results_say() -> None:
    results = report.read_results(command.RESULTS)
    text = (ROOT / "docs" / "scaling.md").read_text()
    if scaling.GROWTH in results:
        assert report.between_markers(text, scaling.MARKER, scaling.table(results)) == text
    else:
        assert "has not been measured" in text
