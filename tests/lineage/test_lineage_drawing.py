"""The drawing of a model's ancestry: what is in it, and the picture's geometry."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from drawn import drawings
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_store import Builder

from lineage.drawing.depict import depict
from lineage.drawing.drawing import Drawing, fitted, one_line, svg
from lineage.drawing.layout import layout
from lineage.graph.refs import find_model
from lineage.store.connection import Connection
from lineage.store.opening import open_reader

pytestmark = pytest.mark.quick

DATA_STEPS = (
    "ImageExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "ArrayGen",
)
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "metadata.sqlite"
    builder = Builder(path)
    source = {"ImageExampleGen": {"resolved_path": "photos/<b>birds & bees"}}
    first = builder.run("run-a", version=1, properties=source)
    second = builder.run(
        "run-b",
        version=2,
        reused=dict.fromkeys(DATA_STEPS, first),
        baseline=first.artifacts["Trainer.model"],
        properties={"Evaluator": {"accuracy": 0.9, "baseline_accuracy": 0.8}},
    )
    for _ in range(9):  # judged again and again
        nodes = (n for n in second.executions if n != "Evaluator")
        builder.run(version=None, reused=dict.fromkeys(nodes, second))
    builder.run("judged-badly", version=None, properties={"Evaluator": {"why_not_blessed": "low"}})
    return path


def drawn(path: Path, ref: str) -> Drawing:
    reader = open_reader(Connection.parse(str(path)))
    return depict(reader, find_model(reader, ref))


def test_the_real_producers_are_drawn_and_reuse_is_said(store: Path) -> None:
    drawing = drawn(store, "digits-keras@2")
    nodes = {n.id: n for n in drawing.nodes}
    steps = {n.title: n for n in drawing.nodes if n.kind == "execution"}
    assert {t: (n.run_id, n.state) for t, n in steps.items() if t in (*DATA_STEPS, "Trainer")} == {
        **{t: ("run-a", "reused") for t in DATA_STEPS if t != "ExampleValidator"},
        "Trainer": ("run-b", "made"),
    }
    titles = {(nodes[e.source].title, nodes[e.target].title) for e in drawing.edges}
    assert titles >= {
        ("Data: <b>birds & bees", "ImageExampleGen"),
        ("ImageExampleGen", "Examples"),
        ("Trainer", "Model"),
        ("Model", "Evaluator"),
    }
    (baseline,) = (n for n in drawing.nodes if n.aside)
    assert (baseline.title, baseline.details) == ("digits-keras@1", ("baseline", "accuracy 0.8000"))
    assert [e.label for e in drawing.edges if e.aside] == ["baseline_model"]


def test_a_verdict_leads_to_the_version(store: Path) -> None:
    drawing = drawn(store, "digits-keras@1")
    nodes = {n.id: n for n in drawing.nodes}
    following = {nodes[e.source].title: nodes[e.target].title for e in drawing.edges}
    assert following["Evaluator"] == "Blessed"
    assert following["Blessed"] == "Pusher"
    assert following["Pusher"] == "digits-keras@1"


def test_a_refusal_says_why(store: Path) -> None:
    (verdict,) = (n for n in drawn(store, "judged-badly").nodes if n.title == "Not blessed")
    assert (verdict.state, verdict.details) == ("failed", ("low",))


def test_of_many_evaluations_the_pushed_and_the_newest_are_drawn(
    store: Path,
) -> None:
    drawing = drawn(store, "digits-keras@2")
    assert sum(n.title in ("Evaluator", "Pusher") for n in drawing.nodes) == 4
    assert [n.title for n in drawing.nodes if n.id == "more"] == ["7 more"]


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_any_drawing_is_well_formed_xml_with_every_node_and_edge(drawing: Drawing) -> None:
    root = ET.fromstring(svg(drawing, link=lambda n: "?ref=" + n.title))
    groups = list(root.iter(f"{NAMESPACE}g"))
    nodes = {g.get("data-id") for g in groups if g.get("data-id")}
    assert nodes == {n.id for n in drawing.nodes}
    ends = {(g.get("data-source"), g.get("data-target")) for g in groups if g.get("data-source")}
    assert ends == {(e.source, e.target) for e in drawing.edges if e.source != e.target}


def points(line: tuple[tuple[tuple[float, float], tuple[float, float]], ...]):
    """Points along a line as it is drawn: straight within a pair, a cubic between pairs."""
    for pair in line:
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            yield tuple(a + t * (b - a) for a, b in zip(*pair, strict=True))
    for (_, (x0, y0)), ((x1, y1), _) in itertools.pairwise(line):
        bend = (y0 + y1) / 2
        for k in range(1, 20):
            t = k / 20
            weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
            yield (
                sum(w * x for w, x in zip(weights, (x0, x0, x1, x1), strict=True)),
                sum(w * y for w, y in zip(weights, (y0, bend, bend, y1), strict=True)),
            )


@st.composite
def graphs(draw: st.DrawFn):
    count = draw(st.integers(1, 16))
    heights = st.sampled_from([30.0, 46.0, 78.0])
    sizes = {f"n{i}": (188.0, draw(heights)) for i in range(count)}
    ends = st.sampled_from(sorted(sizes))
    return sizes, draw(st.lists(st.tuples(ends, ends), max_size=40))


@settings(max_examples=200, deadline=None)
@given(graphs(), st.integers(1, 4))
def test_no_box_overlaps_another_and_no_line_touches_a_box(graph, abreast: int) -> None:
    sizes, edges = graph
    found = layout(sizes, edges, abreast)
    assert found.boxes.keys() == sizes.keys()
    for a, b in itertools.combinations(found.boxes.values(), 2):
        apart_x = a.x + a.width <= b.x + 1e-6 or b.x + b.width <= a.x + 1e-6
        apart_y = a.y + a.height <= b.y + 1e-6 or b.y + b.height <= a.y + 1e-6
        assert apart_x or apart_y
    for box in found.boxes.values():
        assert box.x >= -1e-6 and box.x + box.width <= found.width + 1e-6
        assert box.y >= -1e-6 and box.y + box.height <= found.height + 1e-6
    assert found.lines.keys() == {(a, b) for a, b in edges if a != b}
    for line in found.lines.values():
        for x, y in points(line):
            assert -1e-6 <= x <= found.width + 1e-6
            for box in found.boxes.values():
                inside_x = box.x + 1e-6 < x < box.x + box.width - 1e-6
                assert not (inside_x and box.y + 1e-6 < y < box.y + box.height - 1e-6)


@given(graphs())
def test_lines_go_down_where_there_is_no_cycle(graph) -> None:
    sizes, edges = graph
    down = [(a, b) for a, b in edges if int(a[1:]) < int(b[1:])]
    found = layout(sizes, down, 3)
    for a, b in down:
        assert found.boxes[a].y + found.boxes[a].height < found.boxes[b].y


@given(st.text(max_size=200), st.floats(10, 300))
def test_fitted_text_is_one_line_and_says_when_it_was_cut(value: str, room: float) -> None:
    found = fitted(value, room, 12)
    assert "\n" not in found
    assert found == one_line(value) or found.endswith("…")
    assert len(found) <= max(1, room / 12 / 0.38 + 1) or not found.isascii()
