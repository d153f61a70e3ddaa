"""A drawing as the source of Mermaid and of Graphviz."""

from __future__ import annotations

import re

from lineage.drawing.drawing import COLOURS, Drawing, Node, one_line


def mermaid(drawing: Drawing) -> str:
    """Writes a flowchart, https://mermaid.js.org/syntax/flowchart.html."""
    names = _names(drawing)
    lines = [f"%% {one_line(drawing.title)}", "flowchart TD"]
    for node in drawing.nodes:
        opening, closing = {
            "execution": ("[", "]"),
            "artifact": ("(", ")"),
            "version": ("([", "])"),
        }[node.kind]
        text = "<br/>".join(map(_mermaid_text, _text(node)))
        style = f":::{node.state}"
        lines.append(f'    {names[node.id]}{opening}"{text}"{closing}{style}')
    for edge in drawing.edges:
        arrow = "-.->" if edge.aside else "-->"
        label = f'|"{_mermaid_text(edge.label)}"|' if edge.label.strip() else ""
        lines.append(f"    {names[edge.source]} {arrow}{label} {names[edge.target]}")
    for state, colour in COLOURS.items():
        lines.append(f"    classDef {state} stroke:{colour},fill:{colour}1a")
    aside = [names[n.id] for n in drawing.nodes if n.aside]
    if aside:
        lines.append(f"    style {','.join(aside)} stroke-dasharray:5 4")
    return "\n".join(lines) + "\n"


def dot(drawing: Drawing) -> str:
    """Writes a digraph, https://graphviz.org/doc/info/lang.html."""
    names = _names(drawing)
    lines = [
        "digraph lineage {",
        f"  graph [label={_quoted(one_line(drawing.title))}, labelloc=t, rankdir=TB];",
        '  node [fontname="sans-serif", fontsize=11, shape=box];',
        '  edge [fontname="sans-serif", fontsize=9, color="#8b9098"];',
    ]
    for node in drawing.nodes:
        style = [{"execution": "solid", "artifact": "rounded", "version": "rounded"}[node.kind]]
        style += ["dashed"] * node.aside
        label = '"' + "\\n".join(_quoted(t)[1:-1] for t in _text(node)) + '"'
        lines.append(
            f"  {names[node.id]} [label={label}, color={_quoted(COLOURS[node.state])}, "
            f'style="{",".join(style)}"];'
        )
    for edge in drawing.edges:
        style_ = ", style=dashed" if edge.aside else ""
        lines.append(
            f"  {names[edge.source]} -> {names[edge.target]} "
            f"[label={_quoted(one_line(edge.label))}{style_}];"
        )
    return "\n".join([*lines, "}"]) + "\n"


def _names(drawing: Drawing) -> dict[str, str]:
    """Gives plain identifiers: "end" and others are words of these languages."""
    return {n.id: f"n{i}" for i, n in enumerate(drawing.nodes)}


def _text(node: Node) -> list[str]:
    return [one_line(t) for t in (node.title, *node.details[:3])]


def _mermaid_text(text: str) -> str:
    """Writes text for double quotes; what Mermaid, Markdown or HTML could read becomes a code."""
    plain = re.compile(r"[\w .,:+=/@-]")
    return "".join(c if plain.match(c) else f"#{ord(c)};" for c in one_line(text)) or " "


def _quoted(text: str) -> str:
    r"""Writes a double-quoted string: `\N` and the like, and HTML entities, are not read in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'
