"""What is remembered of every part of a hierarchy, for the page: a tree to look at, and a table by level."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmforget.leaderboard.board import Board
from mmforget.results.schema import LevelResult, Relation

Place = tuple[str, ...]

MAX_NODES = 400
"""More than this are no longer looked at: the innermost levels are then left out."""
MAX_DEPTH = 8
WIDTH, HEIGHT = 600.0, 34.0
"""Of the picture, and of one level in it, in its own units."""
NUM_SHADES = 10
RELATIONS: tuple[Relation, ...] = ("inside", "ancestor", "sibling", "elsewhere")


class Column(NamedTuple):
    """What one model remembers.

    Attributes:
        label: the model's name.
        values: by path, the mean score in [0, 1]; None where nothing could be scored.
    """

    label: str
    values: Mapping[Place, float | None]


@dataclass(frozen=True)
class Node:
    """One part of the hierarchy, such as a patient, with what every model remembers of it."""

    name: str
    """Last part of its path."""
    level: str
    """Level, e.g. `patient`."""
    relation: Relation
    """How it stands to what was to be forgotten."""
    num: int
    """Questions below it."""
    values: tuple[float | None, ...]
    """Share remembered, one for every model of the tree."""
    children: tuple[Node, ...]
    """Parts directly below it."""
    depth: int
    """Levels above it."""
    left: float
    """Where it begins in the picture."""
    width: float
    """How wide it is there; nodes share the width by the innermost parts they hold."""

    def walk(self) -> Iterator[Node]:
        """It and all below it, from the outside in."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class LevelLine:
    """One line of the table by level: all nodes of a level that stand in one relation to what was to be forgotten."""

    level: str
    """Level."""
    relation: Relation
    """Relation."""
    num_nodes: int
    """How many nodes."""
    values: tuple[float | None, ...]
    """Mean over their questions, one for every model of the tree."""


@dataclass(frozen=True)
class Tree:
    """Everything the page shows of a hierarchy."""

    metric: str
    """What `remembered` means."""
    models: tuple[str, ...]
    """Target and retain model, then the methods in the order of the board."""
    roots: tuple[Node, ...]
    """The outermost nodes."""
    lines: tuple[LevelLine, ...]
    """The table by level."""
    num_levels: int
    """Levels that are drawn."""
    left_out: tuple[str, ...]
    """Levels that are not, because there are too many nodes to look at."""

    @property
    def nodes(self) -> list[Node]:
        """All nodes that are drawn."""
        return [node for root in self.roots for node in root.walk()]

    @property
    def forgotten(self) -> list[Node]:
        """The outermost nodes of all that was to be forgotten."""
        above = {id(child) for node in self.nodes if node.relation == "inside" for child in node.children}
        return [node for node in self.nodes if node.relation == "inside" and id(node) not in above]


def tree(board: Board) -> Tree | None:
    """The hierarchy of a board's records, or None where no record has one."""
    rows = [row for row in board.rows if row.record.levels]
    if not rows:
        return None
    # By place, since a record of a stranger may name one twice.
    known = {result.path: result for result in rows[0].record.levels if 0 < len(result.path) <= MAX_DEPTH}
    results = list(known.values())
    columns = _columns(board)
    depth = _depth(results)
    drawn = [result for result in results if len(result.path) <= depth]
    return Tree(
        metric=rows[0].record.levels[0].name,
        models=tuple(column.label for column in columns),
        roots=tuple(_nodes(drawn, columns=columns)),
        lines=tuple(_lines(results, columns=columns)),
        num_levels=depth,
        left_out=tuple(dict.fromkeys(result.level for result in results if len(result.path) > depth)),
    )


def shade(value: float | None) -> str:
    """The class of a colour for a share remembered: `h0` nothing, `h10` everything, `hx` not known."""
    if value is None or math.isnan(value):
        return "hx"
    return f"h{round(NUM_SHADES * min(1.0, max(0.0, value)))}"


def _columns(board: Board) -> list[Column]:
    """Target and retain model as the first record with levels knows them, then every other model."""
    rows = [row for row in board.rows if row.record.levels]
    found = []
    for reference in ("target", "retain"):
        values = {result.path: getattr(result, reference) for result in rows[0].record.levels}
        if any(value is not None for value in values.values()):
            found.append(Column(reference, values))
    for row in rows:
        if row.record.role not in ("target", "retain"):
            found.append(Column(row.label, {result.path: result.value for result in row.record.levels}))
    return found or [Column(rows[0].label, {result.path: result.value for result in rows[0].record.levels})]


def _depth(results: Sequence[LevelResult]) -> int:
    """How many levels are drawn: as many as hold no more than `MAX_NODES` nodes, and at least the outermost."""
    sizes = [sum(len(result.path) <= depth for result in results) for depth in range(1, MAX_DEPTH + 1)]
    deepest = max((len(result.path) for result in results), default=1)
    return max(1, min(deepest, sum(size <= MAX_NODES for size in sizes)))


def _nodes(results: Sequence[LevelResult], *, columns: Sequence[Column]) -> list[Node]:
    below: dict[Place, list[LevelResult]] = defaultdict(list)
    for result in results:
        below[result.path[:-1]].append(result)
    total = sum(_num_leaves(result, below=below) for result in below[()])
    return _children((), below=below, columns=columns, left=0.0, unit=WIDTH / max(1, total))


def _children(
    path: Place, *, below: Mapping[Place, list[LevelResult]], columns: Sequence[Column], left: float, unit: float
) -> list[Node]:
    nodes = []
    for result in below.get(path, ()):
        width = unit * _num_leaves(result, below=below)
        nodes.append(
            Node(
                name=result.path[-1],
                level=result.level,
                relation=result.relation,
                num=result.num,
                values=tuple(column.values.get(result.path) for column in columns),
                children=tuple(_children(result.path, below=below, columns=columns, left=left, unit=unit)),
                depth=len(path),
                left=round(left, 2),
                width=round(width, 2),
            )
        )
        left += width
    return nodes


def _num_leaves(result: LevelResult, *, below: Mapping[Place, list[LevelResult]]) -> int:
    return sum(_num_leaves(child, below=below) for child in below.get(result.path, ())) or 1


def _lines(results: Sequence[LevelResult], *, columns: Sequence[Column]) -> Iterator[LevelLine]:
    """Outermost level first, what was to be forgotten first within each."""
    depths = {result.level: len(result.path) for result in results}
    for level in sorted(depths, key=lambda name: depths[name]):
        for relation in RELATIONS:
            own = [result for result in results if (result.level, result.relation) == (level, relation)]
            if own:
                values = tuple(_mean(own, column=column) for column in columns)
                yield LevelLine(level, relation, len(own), values)


def _mean(results: Sequence[LevelResult], *, column: Column) -> float | None:
    """Mean over the questions of several nodes."""
    known = [(result.num, column.values.get(result.path)) for result in results]
    scored = [(num, value) for num, value in known if value is not None and num > 0]
    total = sum(num for num, _ in scored)
    return sum(num * value for num, value in scored) / total if total else None
