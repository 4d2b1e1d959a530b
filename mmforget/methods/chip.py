"""CHIP, cross-modal hierarchy-informed projection: removes what sets a forgotten node apart from its kin; no training.

Source: "Hierarchy-Aware Multimodal Unlearning for Medical AI", arXiv 2512.09867; what the paper leaves open is as in
the official code, github.com/fengli-wu/MedForget.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods import chip_math
from mmforget.methods.arguments import require_positive
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.chip_graph import Contrast, EditPlan, Node, clean_plan, released_plan
from mmforget.methods.edits import Edit, EditReport, Matrix, Pooling, Site, Sums
from mmforget.types import Example

PUBLISHED_PROJECTORS = frozenset({"qwen_vl"})
"""Families whose projector the official code edits."""


class Mean(NamedTuple):
    """Rows of a matrix's outputs, added up: float32 [D], and their number."""

    total: Tensor
    num_rows: int


@dataclass
class Side:
    """What was measured of the questions to forget, or of those to keep.

    Attributes:
        means: by node, then by matrix.
        absolute: by matrix, sums of absolute values over all nodes.
    """

    means: dict[Node, dict[str, Mean]] = field(default_factory=dict)
    absolute: dict[str, Sums] = field(default_factory=dict)

    def add(self, node: Node, sums: dict[str, Sums]) -> None:
        self.means[node] = {name: Mean(one.total.float(), one.num_rows) for name, one in sums.items()}
        for name, one in sums.items():
            before = self.absolute.get(name)
            if before is None:
                self.absolute[name] = one
            else:
                self.absolute[name] = Sums(before.total, before.absolute + one.absolute, before.num_rows + one.num_rows)

    def importance(self, name: str) -> Tensor:
        """Mean absolute output [D] over the rows of all nodes."""
        return self.absolute[name].absolute / self.absolute[name].num_rows

    def mean(self, name: str, *, nodes: Sequence[Node]) -> Tensor | None:
        """Mean row float64 [D] over the rows of these nodes together, so that a node with more rows weighs more.

        None where they have no rows.
        """
        found = [self.means[node][name] for node in nodes if name in self.means[node]]
        if not found:
            return None
        return torch.stack([one.total.double() for one in found]).sum(0) / sum(one.num_rows for one in found)


@dataclass(frozen=True)
class Chip:
    """Edits the feed-forward matrices of the last decoder layers and the projector's.

    For every matrix: the `neurons` share of outputs that are larger on what is to be forgotten than on what is kept;
    one direction on them for every child of a forgotten node, from the mean output of its retained kin to its own; the
    leading right singular vectors that hold `tau` of all directions; these are projected out of the weights.

    Arguments: `layers` last decoder layers (all where there are fewer); `alpha`, the weight of image positions in a
    question's mean, `none` for the mean over all positions; `projector`, whether its matrices are edited where the
    official code does it (`published`: Qwen's merger, but not the two layers of LLaVA), in any model (`always`) or in
    none (`never`); `max_questions` a node, drawn with a fixed seed; `max_targets`, none: all.

    `variant`: `released` is the official code: padding counts as text, projector outputs are rows one by one, a row
    counts at both levels that are looked at, what is known of a forgotten node itself gives no direction, biases stay,
    and the projection is rounded before it is multiplied. Not taken over: a seed that differs by process, nodes with
    equal names under different parents merged, and forward errors swallowed. `clean` mends all of these: padding is
    left out, projector outputs are averaged over each image, every row counts once, a node's own questions give a
    direction against its siblings', biases are projected, and the product is rounded once.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2512.09867"
    grid: ClassVar[Grid] = {"neurons": (0.05, 0.1, 0.2), "tau": (0.9, 0.95), "layers": (3, 6, 12)}

    neurons: float = 0.10
    tau: float = 0.95
    alpha: float | None = 0.3
    layers: int = 6
    projector: Literal["published", "always", "never"] = "published"
    variant: Literal["released", "clean"] = "clean"
    max_questions: int = 500
    max_targets: int | None = None

    def __post_init__(self) -> None:
        require_positive(neurons=self.neurons, tau=self.tau, layers=self.layers, max_questions=self.max_questions)
        require_positive(max_targets=1 if self.max_targets is None else self.max_targets)
        for name, value in (("neurons", self.neurons), ("tau", self.tau)):
            if value > 1:
                raise UserError(f"{name}={value} is not allowed; give a share above 0 and up to 1")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise UserError(f"alpha={self.alpha} is not allowed; give a share from 0 to 1, or none")

    @property
    def needs(self) -> frozenset[Any]:
        return frozenset()

    @property
    def pooling(self) -> Pooling:
        """How the positions of a question become the rows that are compared."""
        is_released = self.variant == "released"
        return Pooling(alpha=self.alpha, padding=is_released, each_token=is_released)

    def check(self, *, forget: Sequence[Node], retain: Sequence[Node], level: int | None) -> None:
        """Raises UserError where rows with these paths have no nodes at this level, or nothing to compare them with."""
        self._plan(forget, retain, level=level)

    def edit(
        self, site: Site, *, forget: Sequence[Example], retain: Sequence[Example], level: int | None
    ) -> EditReport:
        """Projects every matrix, all measured on the model as it came.

        Raises UserError where rows have no path at this level, the model has no such matrices, or no node differs from
        its kin, so that nothing would be edited.
        """
        plan = self._plan([one.path for one in forget], [one.path for one in retain], level=level)
        names, left_out = self._names(site)
        sides = (
            self._measure(site, forget, nodes=plan.forget, names=names),
            self._measure(site, retain, nodes=plan.retain, names=names),
        )
        edits, notes, num_weights = list[Edit](), [*left_out, *_lonely(plan)], 0
        for name in names:
            edit, matrix = self._edited(name, site=site, sides=sides, contrasts=plan.contrasts)
            if matrix is None:
                notes.append(f"{name} was left as it is: no node differs from its kin there")
                continue
            site.replace(name, matrix)
            edits.append(edit)
            num_weights += edit.num_neurons * matrix.weight.shape[1]
        if not edits:
            raise UserError("chip would edit nothing: no node to forget differs from its kin; " + "; ".join(notes))
        return EditReport(tuple(edits), len(plan.targets), num_weights, tuple(notes))

    def _plan(self, forget: Sequence[Node], retain: Sequence[Node], *, level: int | None) -> EditPlan:
        deepest = max((len(path) for path in forget), default=0)
        at = deepest - 1 if level is None else level
        if not 0 <= at < deepest:
            raise UserError(
                f"chip forgets nodes of a hierarchy, and no row to forget has a path of {max(at, 0) + 1} parts; give a "
                "benchmark whose rows have paths, such as medforget"
            )
        make = released_plan if self.variant == "released" else clean_plan
        plan = make(forget, retain, level=at, max_targets=self.max_targets)
        if not plan.contrasts:
            raise UserError(
                "chip compares what is forgotten with what is kept of the same level, and there is nothing of it to "
                "keep; forget a smaller part"
            )
        return plan

    def _names(self, site: Site) -> tuple[list[str], list[str]]:
        """The matrices to edit, and what to say about those that are not."""
        names = [name for layer in site.layers[-self.layers :] for name in layer]
        if not names:
            raise UserError("chip edits the feed-forward matrices of decoder layers, and this model has none it knows")
        if self.projector == "always" or (self.projector == "published" and site.family in PUBLISHED_PROJECTORS):
            return [*names, *site.projector], []
        if self.projector == "never" or not site.projector:
            return names, []
        count = len(site.projector)
        return names, [f"the projector's {count} matrices stay, as in the official code for all models but Qwen's"]

    def _measure(
        self, site: Site, examples: Sequence[Example], *, nodes: dict[Node, list[int]], names: Sequence[str]
    ) -> Side:
        side = Side()
        for node, positions in nodes.items():
            drawn = [examples[position] for position in self._drawn(node, positions)]
            side.add(node, site.sums(drawn, names=names, pooling=self.pooling))
        return side

    def _drawn(self, node: Node, positions: list[int]) -> list[int]:
        """At most `max_questions`, in order; which ones depends on the node alone, in every process."""
        if len(positions) <= self.max_questions:
            return positions
        return sorted(random.Random("chip/" + "/".join(node)).sample(positions, self.max_questions))

    def _edited(
        self, name: str, *, site: Site, sides: tuple[Side, Side], contrasts: Sequence[Contrast]
    ) -> tuple[Edit, Matrix | None]:
        """What is done to a matrix, and the result; None where no direction is left."""
        forget, retain = sides
        nothing = Edit(name, 0, 0, 0), None
        if name not in forget.absolute or name not in retain.absolute:
            return nothing
        neurons = chip_math.select(forget.importance(name), retain.importance(name), share=self.neurons)
        directions = []
        for one in contrasts:
            target, reference = forget.mean(name, nodes=[one.node]), retain.mean(name, nodes=one.against)
            if target is not None and reference is not None:
                directions.append(chip_math.direction(target, reference=reference, neurons=neurons))
        rows = [row for row in directions if row is not None]
        if not rows:
            return nothing
        columns = chip_math.basis(torch.stack(rows), tau=self.tau)
        project = chip_math.project_released if self.variant == "released" else chip_math.project
        matrix = project(site.matrix(name), neurons=neurons, columns=columns)
        return Edit(name, len(neurons), len(rows), columns.shape[1]), matrix


def _lonely(plan: EditPlan) -> list[str]:
    """Which nodes gave no direction, in words."""
    if not plan.lonely:
        return []
    shown = ", ".join("/".join(node) for node in plan.lonely[:3]) + (", ..." if len(plan.lonely) > 3 else "")
    return [f"{len(plan.lonely)} nodes have nothing retained of their level to compare with: {shown}"]


METHOD = Chip
