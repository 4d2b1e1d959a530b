"""Which nodes of a hierarchy CHIP looks at, and which it sets against which. Knows paths only, no tensor.

A node is the first parts of paths, e.g. (institution, patient); level 0 is the outermost, so a node of level l has
l + 1 parts. The level above a target's is its parent's, the one below its children's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Node = tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """One direction: from the rows of all of `against` together to those of `node`."""

    node: Node
    against: tuple[Node, ...]


@dataclass(frozen=True)
class EditPlan:
    """What has to be measured and compared.

    Attributes:
        targets: the nodes to forget.
        forget, retain: the rows, as positions, of each node that is measured, on each side.
        contrasts: the directions; a node without any node to set it against has none.
        lonely: nodes without one.
    """

    targets: tuple[Node, ...]
    forget: dict[Node, list[int]]
    retain: dict[Node, list[int]]
    contrasts: tuple[Contrast, ...]
    lonely: tuple[Node, ...] = ()


def released_plan(
    forget: Sequence[Node], retain: Sequence[Node], *, level: int, max_targets: int | None = None
) -> EditPlan:
    """As the official code has it.

    Nodes of the target level and of the one below are measured, each with all rows at and below it, so that a row
    counts once at each of the two. A target with children gives one direction a child, against the cousins: retained
    children of whatever shares the target's parent; else all retained nodes of the children's level. A target without
    gives one itself, against its retained siblings, else against all retained nodes of its level. Rows of the target
    itself, such as a patient's name, give none.

    Args:
        forget, retain: the path of each row.
    """
    found, kept = _nodes(forget, sizes=(level + 1, level + 2)), _nodes(retain, sizes=(level + 1, level + 2))
    targets = [node for node in found if len(node) == level + 1][:max_targets]
    contrasts = []
    for target in targets:
        children = [node for node in found if len(node) == level + 2 and node[:-1] == target]
        for node in children or [target]:
            contrasts.append(Contrast(node, _kin(node, kept, target=target)))
    return _plan(targets, found, kept, contrasts)


def clean_plan(
    forget: Sequence[Node], retain: Sequence[Node], *, level: int, max_targets: int | None = None
) -> EditPlan:
    """Every row in one node: a child of its target, or the target itself where the row is about that.

    So no row counts twice, and what is known of the target itself, such as a patient's name, gives a direction of its
    own, against what is known of its siblings.

    Args:
        forget, retain: the path of each row.
    """
    found, kept = _groups(forget, level=level), _groups(retain, level=level)
    targets = list(dict.fromkeys(node[: level + 1] for node in found))[:max_targets]
    contrasts = [
        Contrast(node, _kin(node, kept, target=target))
        for target in targets
        for node in found
        if node[: level + 1] == target
    ]
    return _plan(targets, found, kept, contrasts)


def _plan(
    targets: Sequence[Node], found: dict[Node, list[int]], kept: dict[Node, list[int]], contrasts: list[Contrast]
) -> EditPlan:
    lonely = tuple(contrast.node for contrast in contrasts if not contrast.against)
    return EditPlan(tuple(targets), found, kept, tuple(one for one in contrasts if one.against), lonely)


def _kin(node: Node, kept: Iterable[Node], *, target: Node) -> tuple[Node, ...]:
    """Retained nodes of the node's own level below the target's parent, but for the target; else all of that level."""
    same_level = [other for other in kept if len(other) == len(node) and other != target]
    parent = target[:-1]
    near = tuple(other for other in same_level if other[: len(parent)] == parent)
    return near or tuple(same_level)


def _nodes(paths: Sequence[Node], *, sizes: Sequence[int]) -> dict[Node, list[int]]:
    """Positions of the rows at and below every node of these sizes, in order of first appearance."""
    found: dict[Node, list[int]] = {}
    for size in sizes:
        for position, path in enumerate(paths):
            if len(path) >= size:
                found.setdefault(path[:size], []).append(position)
    return found


def _groups(paths: Sequence[Node], *, level: int) -> dict[Node, list[int]]:
    """Positions of the rows of every target and every child of one, each row in one of them."""
    found: dict[Node, list[int]] = {}
    for position, path in enumerate(paths):
        if len(path) > level:
            found.setdefault(path[: level + 2], []).append(position)
    return found
