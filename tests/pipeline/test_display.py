"""What is on the screen, from a recorded run's events."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import load_config
from pipeline.run.display import LiveDisplay, PlainDisplay, make_display
from pipeline.run.session import Once, title_of

pytestmark = pytest.mark.quick

CONFIG = load_config(
    None,
    {
        "data.path": "photos",
        "train.framework": "pytorch",
        "train.model": "small_cnn",
        "evaluate.min_accuracy": 0.5,
        "name": "cats",
    },
)
LOG = Path("/out/runs/20260102-030405.000006") / ("a-long-folder-name-" * 5) / "log.txt"
NODES = ["ImageExampleGen", "ArrayGen", "Trainer", "Evaluator"]
PROGRESS = {"kind": "progress", "epoch": 2, "epochs": 5, "step": 30, "steps": 100}
PROGRESS |= {"loss": 0.51234, "accuracy": 0.75, "images_per_second": 1234.5}
PROGRESS |= {"seconds_left": 65.0, "data_wait": 0.012, "learning_rate": 0.00125}
EPOCH = {"kind": "epoch", "epoch": 1, "epochs": 5, "loss": 0.7, "accuracy": 0.6}
EPOCH |= {"val_loss": 0.65, "val_accuracy": 0.625, "seconds": 3.0}
EPOCH_TEXT = (
    "epoch 1/5: loss 0.700, accuracy 0.600, validation loss 0.650, validation accuracy 0.625"
)


def node(name: str, state: str, **more) -> dict:
    return {"kind": "node", "node": name, "state": state, **more}


RUN = [
    {"kind": "run", "index": 0, "run_id": "20260102-030405.000006"},
    {"kind": "nodes", "nodes": NODES},
    node("ImageExampleGen", "running"),
    node("ImageExampleGen", "cached", seconds=0.04, mlmd_state="CACHED"),
    node("ArrayGen", "running"),
    {"kind": "detail", "node": "ArrayGen", "text": "train: 1,024 images"},
    node("ArrayGen", "done", seconds=75.4),
    node("Trainer", "running"),
    PROGRESS,
    EPOCH,
    {"kind": "stage", "stage": "export"},
    node("Trainer", "failed", seconds=3600.0, error="no memory"),
    {"kind": "result", "state": "failed", "error": "no memory"},
]


def recording(width: int = 120, color_system="truecolor") -> Console:
    return Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system=color_system,
    )


def screen(events: list[dict], color_system="truecolor") -> list[str]:
    """The lines of the live table after these events."""
    display = LiveDisplay(recording())
    for event in events:
        display.handle(event)
    console = recording(color_system=color_system)
    console.print(display._render())
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def line_of(name: str, lines: list[str]) -> str:
    (line,) = (line for line in lines if line.startswith(name))
    return re.sub(r" {2,}", " | ", line)


def test_a_note_is_shown_once_also_where_only_the_summary_has_it():
    console = Console(file=io.StringIO(), width=40)
    display = Once(PlainDisplay(console))
    for text in ("one", "two", "one"):
        display.handle({"kind": "note", "text": text})
    display.handle({"kind": "result", "state": "complete", "notices": ["two", "three"]})
    display.handle({"kind": "result", "state": "failed", "error": "…"})
    assert console.file.getvalue().splitlines() == ["Note: one", "Note: two", "Note: three"]


def test_plain_lines():
    console = Console(file=io.StringIO(), width=40)
    display = PlainDisplay(console)
    display.begin(title_of(CONFIG), f"log: {LOG}")
    for event in RUN:
        display.handle(event)
    display.stop()
    assert console.file.getvalue().splitlines() == [
        "cats: small_cnn (pytorch), data photos",
        f"log: {LOG}",
        "ImageExampleGen: running",
        "ImageExampleGen: cached (0.04 s)",
        "ArrayGen: running",
        "ArrayGen: done (1 min 15 s)",
        "Trainer: running",
        f"Trainer: {EPOCH_TEXT}",
        "Trainer: failed (1 h 00 min)",
    ]


def test_before_the_first_event_it_says_that_tfx_is_loading():
    assert "loading TFX" in screen([])[0]
    assert "loading TFX" in screen(RUN[:1])[0]


def test_every_component_waits_at_first():
    lines = screen(RUN[:2])
    assert [line_of(name, lines) for name in NODES] == [f"{name} | waiting" for name in NODES]


def test_states_and_durations():
    lines = screen(RUN[:8])
    assert line_of("ImageExampleGen", lines) == "ImageExampleGen | cached | 0.04 s"
    assert line_of("ArrayGen", lines) == "ArrayGen | done | 1 min 15 s"
    assert line_of("Trainer", lines).startswith("Trainer | running | 0.00 s | starting the")
    assert line_of("Evaluator", lines) == "Evaluator | waiting"


def test_how_far_a_component_has_come_is_shown_while_it_runs():
    assert line_of("ArrayGen", screen(RUN[:6])).endswith("train: 1,024 images")


def test_the_trainer_s_stages():
    assert "exporting and comparing formats" in line_of("Trainer", screen(RUN[:11]))


def test_progress_is_a_bar_with_figures():
    line = line_of("Trainer", screen(RUN[:9]))
    assert line.endswith("epoch 2/5 | loss 0.512 | accuracy 0.750")
    assert len(re.findall("[━╺╸]", line)) == 24


@pytest.mark.parametrize(
    ("wait", "says"),
    [(0.012, ""), (0.25, "waits 25% of the time for data | ")],
)
def test_below_it_are_pace_and_what_is_left(wait, says):
    lines = screen([*RUN[:8], {**PROGRESS, "data_wait": wait}])
    (line,) = [line for line in lines if "images/s" in line]
    said = " | ".join(re.split(r"\s{2,}", line.strip()))
    assert said == f"rate 0.00125 | 1,234 images/s | {says}1 min 05 s left"


@pytest.mark.parametrize(("step", "drawn"), [(0, 0), (25, 6), (50, 12), (100, 24)])
def test_the_bar_is_as_long_as_the_training_has_come(step, drawn):
    lines = screen([*RUN[:8], {**PROGRESS, "step": step}], color_system=None)
    assert line_of("Trainer", lines).count("━") == drawn


def test_the_last_epoch_s_figures_stay_below_the_bar_and_after_training():
    lines = screen(RUN[:10])
    trainer = next(i for i, line in enumerate(lines) if line.startswith("Trainer"))
    assert "epoch 2/5" in lines[trainer]
    # The cell is narrower than the sentence, which is folded.
    assert EPOCH_TEXT.partition(",")[0] in lines[trainer + 2]
    done = screen([*RUN[:10], node("Trainer", "done", seconds=9.0)])
    assert "epoch 1/5: loss 0.700" in line_of("Trainer", done)
    assert "━" not in "".join(done)


def test_a_failed_component_is_shown_as_such():
    assert line_of("Trainer", screen(RUN)).startswith("Trainer | failed | 1 h 00 min")


def test_a_cached_trainer_shows_no_figures_of_another():
    events = [*RUN[:10], node("Trainer", "cached", seconds=0.1)]
    assert line_of("Trainer", screen(events)) == "Trainer | cached | 0.1 s"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_display_draws_starts_anew_and_stops(width):
    console = recording(width)
    display = LiveDisplay(console)
    for _ in range(2):  # as with two pipelines one after the other
        display.begin(title_of(CONFIG), f"log: {LOG}")
        for event in RUN:
            display.handle(event)
        display.stop()
    display.stop()
    text = console.export_text()
    assert text.count("cats: small_cnn (pytorch)") == 2
    assert text.count(f"log: {LOG}") == 2
    assert "failed" in text


def test_the_display_fits_where_the_output_goes():
    assert isinstance(make_display(Console(file=io.StringIO())), PlainDisplay)
    assert isinstance(make_display(recording()), LiveDisplay)
