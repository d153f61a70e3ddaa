"""Any drawing, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from lineage.drawing.drawing import Drawing, Edge, Node

ANY_TEXT = st.text(max_size=40)


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    count = draw(st.integers(0, 14))
    nodes = tuple(
        Node(
            id=f"n{i}",
            kind=draw(st.sampled_from(["artifact", "execution", "version"])),
            title=draw(ANY_TEXT),
            details=tuple(draw(st.lists(ANY_TEXT, max_size=4))),
            state=draw(st.sampled_from(["made", "reused", "failed", "pushed", "deleted"])),
            aside=draw(st.booleans()),
        )
        for i in range(count)
    )
    ends = st.sampled_from([n.id for n in nodes]) if nodes else st.nothing()
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=30)) if nodes else []
    edges = tuple(Edge(source=a, target=b, label=draw(ANY_TEXT)) for a, b in pairs)
    return Drawing(title=draw(ANY_TEXT), nodes=nodes, edges=edges)
