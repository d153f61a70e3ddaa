"""A picture of where something came from: what is in it, and as SVG."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

from lineage.drawing.layout import Box, Layout, Point, layout

Kind = Literal["artifact", "execution", "version"]
State = Literal["made", "reused", "failed", "pushed", "deleted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    id: str
    """Unique in the drawing; letters and digits."""
    kind: Kind
    title: str
    details: tuple[str, ...] = ()
    """Up to three short lines."""
    state: State = "made"
    aside: bool = False
    """Compared with, and not made from: drawn dashed."""
    record: int | None = None
    """Id of the artifact or execution in the store."""
    run_id: str | None = None
    """The run that an execution belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Edge:
    source: str
    target: str
    label: str = ""
    aside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    """Both ends of each are among the nodes."""


COLOURS: dict[State, str] = {
    "made": "#3b6ea8",
    "reused": "#7a7f87",
    "failed": "#b3382c",
    "pushed": "#2c7a4b",
    "deleted": "#9a6b16",
}
STYLE = (
    "\n.lineage {"
    + "".join(f" --{state}: {colour};" for state, colour in COLOURS.items())
    + """
  --line: #8b9098; color: #1c2128; font-family: system-ui, sans-serif;
  max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { .lineage { --made: #7fb0e8; --reused: #9aa1ab;
  --failed: #f08a7e; --pushed: #6fcf97; --deleted: #e0b25c; --line: #868d98; color: #e6e9ee; } }
.lineage text { fill: currentColor; font-size: 12px; }
.lineage .title { font-size: 13px; font-weight: 600; }
.lineage .details { opacity: .8; }
.lineage rect { stroke-width: 1.4; fill-opacity: .1; }
.lineage .line { fill: none; stroke: var(--line); stroke-width: 1.3; }
.lineage .tip { fill: var(--line); }
.lineage .aside rect, .lineage .line.aside { stroke-dasharray: 5 4; }
.lineage .execution rect { fill-opacity: 0; }
"""
    + "".join(f".lineage .{s} rect {{ stroke: var(--{s}); fill: var(--{s}); }}\n" for s in COLOURS)
)
"""The picture's colours and type; a page may set the variables anew."""

_WIDTH, _MARGIN = 188.0, 10.0
_TITLE, _DETAIL = 13.0, 12.0
_LINE = 16.0
_ZOOM = 1.25
"""How much larger than drawn the picture gets, where there is room."""


def svg(
    drawing: Drawing,
    *,
    abreast: int = 2,
    style: bool = True,
    link: Callable[[Node], str | None] | None = None,
) -> str:
    """Draws one `<svg>` element, from top to bottom.

    Args:
      abreast: boxes side by side, at most; two are readable on a phone.
      style: whether STYLE is inside; without it, the page must have it.
      link: the address that a node leads to, if any.
    """
    sizes = {n.id: (_WIDTH, 30.0 + _LINE * len(n.details[:3])) for n in drawing.nodes}
    placed = layout(sizes, [(e.source, e.target) for e in drawing.edges], abreast)
    width, height = placed.width + 2 * _MARGIN, placed.height + 2 * _MARGIN
    parts = [
        # What has links inside is no image to a screen reader.
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" '
        f'role="{"group" if link else "img"}" aria-label="{text(drawing.title)}" '
        f'viewBox="{-_MARGIN:g} {-_MARGIN:g} {width:.1f} {height:.1f}" '
        f'width="{width * _ZOOM:.0f}" height="{height * _ZOOM:.0f}">',
        f"<title>{text(drawing.title)}</title>",
    ]
    if style:
        parts.append(f"<style>{STYLE}</style>")
    parts += [_edge(e, placed) for e in drawing.edges if e.source != e.target]
    parts += [_node(n, placed.boxes[n.id], link(n) if link else None) for n in drawing.nodes]
    return "\n".join([*parts, "</svg>"])


def text(value: str) -> str:
    """Writes any string as text or attribute of XML or HTML: on one line, and escaped.

    Characters that XML cannot hold, and those that turn the direction of writing, are
    replaced.
    """
    return escape(one_line(value))


def one_line(value: str) -> str:
    return "".join(map(_shown, " ".join(value.split())))


def _shown(character: str) -> str:
    bad = (
        unicodedata.category(character) in ("Cc", "Cs")
        or unicodedata.bidirectional(character) in _TURNING
        or character in "\ufffe\uffff"
    )
    return "\N{REPLACEMENT CHARACTER}" if bad else character


_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def fitted(value: str, room: float, size: float) -> str:
    """Returns as much of a text as fits, with "…" for the rest.

    Args:
      room: pixels; fonts differ, so a character's width is guessed generously.
      size: of the font, pixels.
    """
    line = one_line(value)
    if sum(map(_advance, line)) * size <= room:
        return line
    used, kept = _advance("…") * size, []
    for character in line:
        used += _advance(character) * size
        if used > room:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def _advance(character: str) -> float:
    """Guesses a character's width in a sans-serif font, in ems."""
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if unicodedata.combining(character):
        return 0.0
    if character in "ijl.,:;'|!()[]tfr /-":
        return 0.38
    if character in "mwMW@%…" or ord(character) > 0x24F:
        return 0.95
    return 0.7 if character.isupper() else 0.59


def _node(node: Node, box: Box, address: str | None) -> str:
    room = box.width - 20
    lines = [(node.title, _TITLE, "title"), *((d, _DETAIL, "details") for d in node.details[:3])]
    shown = "".join(
        f'<text class="{name}" x="{box.x + 10:.1f}" y="{box.y + 20 + i * _LINE:.1f}">'
        f"{text(fitted(line, room, size))}</text>"
        for i, (line, size, name) in enumerate(lines)
    )
    whole = ", ".join([node.title, *node.details])
    rounded = {"execution": 3, "artifact": 12, "version": 12}[node.kind]
    classes = f"{node.kind} {node.state}" + (" aside" if node.aside else "")
    group = (
        f'<g class="{classes}" data-id="{text(node.id)}">'
        f"<title>{text(whole)} ({node.state})</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{rounded}"/>{shown}</g>'
    )
    return f'<a href="{text(address)}">{group}</a>' if address else group


def _edge(edge: Edge, placed: Layout) -> str:
    line = placed.lines[edge.source, edge.target]
    classes = "line aside" if edge.aside else "line"
    return (
        f'<g data-source="{text(edge.source)}" data-target="{text(edge.target)}">'
        f"<title>{text(edge.label)}</title>"
        f'<path class="{classes}" d="{_path(line)}"/>{_tip(line)}</g>'
    )


def _path(line: Sequence[tuple[Point, Point]]) -> str:
    (x, y), _ = line[0]
    parts = [f"M{x:.1f} {y:.1f}L{line[0][1][0]:.1f} {line[0][1][1]:.1f}"]
    for (_, (x0, y0)), ((x1, y1), (x2, y2)) in pairwise(line):
        bend = (y0 + y1) / 2
        parts.append(f"C{x0:.1f} {bend:.1f} {x1:.1f} {bend:.1f} {x1:.1f} {y1:.1f}")
        parts.append(f"L{x2:.1f} {y2:.1f}")
    return "".join(parts)


def _tip(line: Sequence[tuple[Point, Point]]) -> str:
    """Draws the arrow's head; lines end vertically."""
    x, y = line[-1][1]
    back = -6.0 if line[0][0][1] < y else 6.0
    return (
        f'<path class="tip" d="M{x:.1f} {y:.1f}L{x - 3.5:.1f} {y + back:.1f}'
        f'L{x + 3.5:.1f} {y + back:.1f}Z"/>'
    )
