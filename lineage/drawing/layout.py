"""Places boxes in rows from top to bottom, and lines between them that touch no box.

The method of Sugiyama, Tagawa and Toda (1981): rows by the longest path, a point in
each row that a line passes, order within rows by barycentre, then positions.  Lines
that leave one box share their points, so that they branch like a trunk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Item = Hashable
"""A box (its id), or a point that a line passes: ("via", its box, whether up, row)."""
Neighbours = Mapping[Item, Sequence[Item]]
"""In the row above, or below; of every item, none being an empty list."""

_GAP_X, _GAP_Y = 18.0, 34.0
_LANE = 2.0
_SWEEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All in pixels, from the top left corner."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    lines: Mapping[tuple[str, str], tuple[tuple[Point, Point], ...]]
    """By edge: straight down (or up) within a segment's pair of points; a curve leads
    from the second point of a pair to the first of the next."""


def layout(sizes: Mapping[str, Point], edges: Collection[tuple[str, str]], abreast: int) -> Layout:
    """Places boxes.

    Args:
      sizes: width and height by box.
      edges: pairs of boxes; cycles are allowed.
      abreast: boxes in one row, at most.
    """
    pairs = sorted({(a, b) for a, b in edges if a != b})
    down, flipped = _acyclic(list(sizes), pairs)
    row_of = _rows(list(sizes), down, abreast)
    chains = {edge: _chain(edge, edge in flipped, row_of) for edge in pairs}
    links = sorted({link for c in chains.values() for link in pairwise(c)}, key=repr)
    above: dict[Item, list[Item]] = defaultdict(list)
    below: dict[Item, list[Item]] = defaultdict(list)
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    rows = _ordered(row_of, chains, above, below)
    widths: dict[Item, float] = {i: sizes[i][0] if i in row_of else _LANE for r in rows for i in r}
    centres = _centres(rows, above, below, widths)
    return _placed(sizes, rows, chains, above, below, flipped, widths, centres)


def _acyclic(
    boxes: Sequence[str], edges: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """Turns edges round that close a cycle; returns all of them, and which these were."""
    after: dict[str, list[str]] = defaultdict(list)
    for a, b in edges:
        after[a].append(b)
    flipped: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in boxes:
        if start in done:
            continue
        path, stack = {start}, [(start, iter(after[start]))]
        while stack:
            box, rest = stack[-1]
            for following in rest:
                if following in path:
                    flipped.add((box, following))
                elif following not in done:
                    path.add(following)
                    stack.append((following, iter(after[following])))
                    break
            else:
                stack.pop()
                path.discard(box)
                done.add(box)
    return [(b, a) if (a, b) in flipped else (a, b) for a, b in edges], flipped


def _rows(boxes: Sequence[str], down: Sequence[tuple[str, str]], abreast: int) -> dict[str, int]:
    """Returns the row of each box: below all that lead to it, and no row too full."""
    before: dict[str, set[str]] = {b: set() for b in boxes}
    after: dict[str, set[str]] = {b: set() for b in boxes}
    for a, b in down:
        before[b].add(a)
        after[a].add(b)
    longest: dict[str, int] = {}
    waiting = {b: len(before[b]) for b in boxes}
    ready = [b for b in boxes if not waiting[b]]
    order = []
    while ready:
        box = ready.pop(0)
        order.append(box)
        longest[box] = max((longest[a] + 1 for a in before[box]), default=0)
        for following in sorted(after[box]):
            waiting[following] -= 1
            if not waiting[following]:
                ready.append(following)
    # What nothing leads to stands right above what it leads to.
    for box in order:
        if not before[box] and after[box]:
            longest[box] = min(longest[b] for b in after[box]) - 1
    row_of: dict[str, int] = {}
    taken: dict[int, int] = defaultdict(int)
    place = {b: i for i, b in enumerate(order)}
    for box in sorted(order, key=lambda b: (longest[b], place[b])):
        row = max([longest[box], *(row_of[a] + 1 for a in before[box])])
        while taken[row] >= abreast:
            row += 1
        row_of[box] = row
        taken[row] += 1
    used = {row: i for i, row in enumerate(sorted(set(row_of.values())))}
    return {box: used[row] for box, row in row_of.items()}


def _chain(edge: tuple[str, str], flipped: bool, row_of: Mapping[str, int]) -> tuple[Item, ...]:
    """Returns a line from top to bottom: its upper box, the points it passes, its lower box."""
    upper, lower = edge[::-1] if flipped else edge
    between = range(row_of[upper] + 1, row_of[lower])
    return (upper, *(("via", upper, flipped, row) for row in between), lower)


def _ordered(
    row_of: Mapping[str, int],
    chains: Mapping[tuple[str, str], tuple[Item, ...]],
    above: Neighbours,
    below: Neighbours,
) -> list[list[Item]]:
    rows: list[list[Item]] = [[] for _ in range(max(row_of.values(), default=-1) + 1)]
    for box, row in row_of.items():
        rows[row].append(box)
    seen: set[Item] = set()
    for _, chain in sorted(chains.items()):
        for number, item in enumerate(chain[1:-1], start=row_of[str(chain[0])] + 1):
            if item not in seen:
                seen.add(item)
                rows[number].append(item)
    best, fewest = rows, _crossings(rows, above)
    for sweep in range(_SWEEPS):
        near = above if sweep % 2 == 0 else below
        place = {item: i / max(len(r), 2) for r in rows for i, item in enumerate(r)}
        rows = [list(r) for r in rows]
        for items in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {item: _barycentre(item, near, place) for item in items}
            items.sort(key=wanted.__getitem__)
            place |= {item: i / max(len(items), 2) for i, item in enumerate(items)}
        crossings = _crossings(rows, above)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _barycentre(item: Item, near: Mapping[Item, Sequence[Item]], at: Mapping[Item, float]) -> float:
    return sum(at[n] for n in near[item]) / len(near[item]) if near[item] else at[item]


def _crossings(rows: Sequence[Sequence[Item]], above: Neighbours) -> int:
    count = 0
    for upper, lower in pairwise(rows):
        place = {item: i for i, item in enumerate(upper)}
        ends = [p for item in lower for p in sorted(place[a] for a in above[item])]
        count += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def _centres(
    rows: Sequence[Sequence[Item]],
    above: Neighbours,
    below: Neighbours,
    widths: Mapping[Item, float],
) -> dict[Item, float]:
    """Returns the horizontal middle of every item: near its neighbours, apart in its row."""
    centres: dict[Item, float] = {}
    for row in rows:
        centres |= zip(row, _apart([0.0] * len(row), [widths[i] for i in row]), strict=True)
    for sweep in range(4 * _SWEEPS):
        near = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_barycentre(item, near, centres) for item in row]
            centres |= zip(row, _apart(wanted, [widths[i] for i in row]), strict=True)
    return centres


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Returns the centres nearest to the wanted ones (least squares) that keep order and distance.

    Pools adjacent violators, as in isotonic regression.
    """
    offsets, at = [], 0.0
    for i, width in enumerate(widths):
        at += (widths[i - 1] + width) / 2 + _GAP_X if i else 0.0
        offsets.append(at)
    pools: list[tuple[float, int]] = []  # sum, count
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            previous, n = pools.pop()
            total, count = total + previous, count + n
        pools.append((total, count))
    starts = [total / count for total, count in pools for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _placed(
    sizes: Mapping[str, Point],
    rows: Sequence[Sequence[Item]],
    chains: Mapping[tuple[str, str], tuple[Item, ...]],
    above: Neighbours,
    below: Neighbours,
    flipped: Collection[tuple[str, str]],
    widths: Mapping[Item, float],
    centres: Mapping[Item, float],
) -> Layout:
    left = min((centres[i] - widths[i] / 2 for i in centres), default=0.0)
    right = max((centres[i] + widths[i] / 2 for i in centres), default=0.0)
    middle = {i: x - left for i, x in centres.items()}
    top = 0.0
    tops: dict[Item, float] = {}
    bottoms: dict[Item, float] = {}
    boxes: dict[str, Box] = {}
    for row in rows:
        height = max((sizes[i][1] for i in row if isinstance(i, str)), default=0.0)
        for item in row:
            tops[item], bottoms[item] = top, top + height
            if isinstance(item, str):
                boxes[item] = Box(
                    x=middle[item] - widths[item] / 2,
                    y=top + (height - sizes[item][1]) / 2,
                    width=widths[item],
                    height=sizes[item][1],
                )
        top += height + _GAP_Y

    def port(item: Item, other: Item, side: Neighbours) -> float:
        """Says where on a box's side a line ends: as many places as lines, in their order."""
        others = sorted(side[item], key=lambda o: (middle[o], repr(o)))
        part = widths[item] / (len(others) + 1)
        return middle[item] - widths[item] / 2 + part * (others.index(other) + 1)

    lines = {}
    for edge, chain in chains.items():
        upper, lower = str(chain[0]), str(chain[-1])
        out, into = port(upper, chain[1], below), port(lower, chain[-2], above)
        # Straight on to the row's border first: a neighbour may be taller.
        start = ((out, boxes[upper].y + boxes[upper].height), (out, bottoms[upper]))
        end = ((into, tops[lower]), (into, boxes[lower].y))
        passed = [((middle[i], tops[i]), (middle[i], bottoms[i])) for i in chain[1:-1]]
        line = [start, *passed, end]
        if edge in flipped:
            line = [(b, a) for a, b in reversed(line)]
        lines[edge] = tuple(line)
    height = max(top - _GAP_Y, 0.0)
    return Layout(width=right - left, height=height, boxes=boxes, lines=lines)
