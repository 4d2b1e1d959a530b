"""MANU, modality-aware neuron unlearning: what is busier on what is to be forgotten than on the rest is pruned.

Source: Liu et al. 2025, "Modality-Aware Neuron Pruning for Unlearning in Multimodal Large Language Models",
https://arxiv.org/abs/2502.15910; weights, share and blocks are those of its code, github.com/franciscoliu/MANU.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.edits import Edit, EditReport, Matrix, Site
from mmforget.methods.rewriting import without_images
from mmforget.types import Example

CLIP, BUSY, TINY = 1e3, 0.1, 1e-5
"""Outputs beyond the first count as it, those beyond the second are an activity, and the third keeps ratios finite."""


class Activity(NamedTuple):
    """Sums over places of what a matrix puts out there, float64 [D] each, and the number of places."""

    num: float
    absolute: Tensor
    busy: Tensor
    total: Tensor
    squares: Tensor

    def beside(self, other: Activity) -> Activity:
        """At the places of both."""
        sums = (one + more for one, more in zip(self[1:], other[1:], strict=True))
        return Activity(self.num + other.num, *sums)


class Importance(NamedTuple):
    """Of each output of a matrix, float64 [D]: mean size, share of places where it is active, deviation, and size in
    the root mean square."""

    mean: Tensor
    frequency: Tensor
    deviation: Tensor
    rms: Tensor


@dataclass
class Watched:
    """The activity of matrices, by name."""

    found: dict[str, Activity] = field(default_factory=dict)

    def take(self, name: str, values: Tensor, counts: Tensor) -> None:
        new, old = activity(values, counts), self.found.get(name)
        self.found[name] = new if old is None else new.beside(old)


@dataclass(frozen=True)
class ModalityAwarePruning:
    """Zeroes outputs of feed-forward matrices, weight and bias: those most active on what is to be forgotten.

    Of each output, cut at 1000, four numbers are taken over all tokens: mean size, share of tokens where that is above
    0.1, standard deviation, root mean square. Its score is the sum over the four of weight times (that on rows to
    forget / (that on rows to keep + 1e-5) - 1). The `share` with the largest scores goes, of all matrices of the last
    `layers` decoder layers together, and of as many last blocks of the vision tower whose output the model reads;
    `iterations` times, scored anew.

    The tower is scored on rows with images and stays where there are none; the language model on words alone: rows with
    images are asked without them, which stand in for the source's questions in words. As many rows to keep are looked
    at as there are to forget, drawn with a fixed seed. The released code gives each of these layers the mean scores of
    all layers, and takes deviations over a batch's questions, position by position: neither is taken over.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.15910"
    grid: ClassVar[Grid] = {"share": (0.01, 0.02, 0.05, 0.1), "layers": (1, 3)}

    share: float = 0.02
    layers: int = 3
    iterations: int = 1
    mean_weight: float = 2.0
    frequency_weight: float = 0.0
    deviation_weight: float = 2.0
    rms_weight: float = 2.0

    def __post_init__(self) -> None:
        require_positive(share=self.share, layers=self.layers, iterations=self.iterations)
        if self.share > 1:
            raise UserError(f"share={self.share} is not allowed; give a share above 0 and up to 1")
        weights = {name: getattr(self, name) for name in WEIGHTS}
        require_not_negative(**weights)
        if not any(weights.values()):
            raise UserError(f"{', '.join(WEIGHTS)} are all 0, so that no output differs from another; give one above 0")

    @property
    def needs(self) -> frozenset[Any]:
        return frozenset()

    def check(self, *, forget: Sequence[tuple[str, ...]], retain: Sequence[tuple[str, ...]], level: int | None) -> None:
        """Raises UserError where there is nothing to keep."""
        if not retain:
            raise UserError("manu compares what is to be forgotten with rows to keep, and there are none; give some")

    def edit(
        self, site: Site, *, forget: Sequence[Example], retain: Sequence[Example], level: int | None
    ) -> EditReport:
        """Raises UserError where there is nothing to keep, or the model has no such matrices."""
        self.check(forget=[one.path for one in forget], retain=[one.path for one in retain], level=level)
        words = [name for layer in site.layers[-self.layers :] for name in layer]
        if not words:
            raise UserError("manu edits the feed-forward matrices of decoder layers, and this model has none it knows")
        kept = drawn(retain, num=len(forget))
        pruned: dict[str, list[int]] = {}
        notes = self._tower_notes(site, forget, kept)
        for _ in range(self.iterations):
            found = self._pruned(site, words, forget=_in_words(forget), retain=_in_words(kept))
            if not notes:
                seen = [name for block in site.tower[-self.layers :] for name in block]
                found |= self._pruned(site, seen, forget=_with_images(forget), retain=_with_images(kept))
            for name, outputs in found.items():
                site.replace(name, without(site.matrix(name), outputs=outputs))
                pruned[name] = sorted({*pruned.get(name, ()), *outputs})
        edits = tuple(Edit(name, len(outputs), 0, len(outputs)) for name, outputs in pruned.items())
        num_weights = sum(len(outputs) * site.matrix(name).weight.shape[1] for name, outputs in pruned.items())
        return EditReport(edits, len({one.subject for one in forget}), num_weights, notes)

    def _tower_notes(self, site: Site, forget: Sequence[Example], retain: Sequence[Example]) -> tuple[str, ...]:
        """Why the vision tower stays; empty where it does not."""
        if not site.tower:
            return ("the model has no vision tower whose matrices are known",)
        without_images = [side for side, rows in (("forget", forget), ("keep", retain)) if not _with_images(rows)]
        return tuple(f"the vision tower stays: no row to {side} has an image" for side in without_images)

    def _pruned(
        self, site: Site, names: Sequence[str], *, forget: Sequence[Example], retain: Sequence[Example]
    ) -> dict[str, list[int]]:
        """The outputs to prune of each of these matrices, which compete with one another."""
        sides = []
        for rows in (forget, retain):
            watched = Watched()
            site.visit(rows, names=names, take=watched.take)
            sides.append(watched.found)
        scores = {name: self.scores(*(importance(side[name]) for side in sides)) for name in names}
        return largest(scores, share=self.share)

    def scores(self, forget: Importance, retain: Importance) -> Tensor:
        """How much busier each output is on what is to be forgotten: float64 [D]."""
        weights = [float(getattr(self, name)) for name in WEIGHTS]
        every = zip(weights, forget, retain, strict=True)
        return torch.stack([weight * (one / (other + TINY) - 1) for weight, one, other in every]).sum(0)


WEIGHTS = ("mean_weight", "frequency_weight", "deviation_weight", "rms_weight")
"""In the order of `Importance`."""


def activity(values: Tensor, counts: Tensor) -> Activity:
    """Of outputs [k, D], each of which counts as often as `counts` [k] says; on the CPU."""
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    cut, often = values.to(wide).clamp(-CLIP, CLIP), counts.to(wide)[:, None]
    sums = [(one * often).sum(0).cpu().double() for one in (cut.abs(), (cut.abs() > BUSY).to(wide), cut, cut.square())]
    return Activity(float(counts.sum()), *sums)


def importance(found: Activity) -> Importance:
    mean, squares = found.total / found.num, found.squares / found.num
    # Of equal outputs the difference is rounding, which may fall below 0.
    deviation = (squares - mean.square()).clamp(min=0).sqrt()
    return Importance(found.absolute / found.num, found.busy / found.num, deviation, squares.sqrt())


def largest(scores: dict[str, Tensor], *, share: float) -> dict[str, list[int]]:
    """The outputs with the largest scores of all matrices together, ascending: max(1, floor(share N)); of equal ones
    the first. A matrix that has none is left out.
    """
    every = torch.cat(list(scores.values()))
    num = max(1, int(len(every) * share + 1e-9))
    chosen = torch.zeros(len(every), dtype=torch.bool)
    chosen[torch.argsort(every, descending=True, stable=True)[:num]] = True
    parts = torch.split(chosen, [len(one) for one in scores.values()])
    found = {name: part.nonzero()[:, 0].tolist() for name, part in zip(scores, parts, strict=True)}
    return {name: outputs for name, outputs in found.items() if outputs}


def without(matrix: Matrix, *, outputs: Sequence[int]) -> Matrix:
    """The matrix with zeros for these outputs, in its weight and its bias."""
    rows = torch.tensor(outputs, device=matrix.weight.device)
    bias = None if matrix.bias is None else matrix.bias.index_fill(0, rows, 0)
    return Matrix(matrix.weight.index_fill(0, rows, 0), bias)


def drawn(rows: Sequence[Example], *, num: int) -> list[Example]:
    """At most `num` rows in their order; the same ones in every process."""
    if len(rows) <= num:
        return list(rows)
    return [rows[place] for place in sorted(random.Random("manu").sample(range(len(rows)), num))]


def _with_images(rows: Sequence[Example]) -> list[Example]:
    return [one for one in rows if one.images]


def _in_words(rows: Sequence[Example]) -> list[Example]:
    """The rows without their images."""
    return [replace(one, images=(), context=without_images(one.context)) if one.images else one for one in rows]


METHOD = ModalityAwarePruning
