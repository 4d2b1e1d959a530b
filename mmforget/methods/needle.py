"""Needle: noise in a concept's own vector, one column of a feed-forward block's last matrix; no training.

Source: Hong et al. 2024, ConceptVectors, https://arxiv.org/abs/2406.11614, which gives the place of each vector with
the benchmark. Where no place is given it is looked for by a rule of ours: an adaptation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.edits import Edit, EditReport, Matrix, Site, last_matrices, require_layer
from mmforget.methods.material import by_subject
from mmforget.types import Example

ORACLE = "the column was given: an oracle upper bound, since who forgets does not know where a fact is"


class Place(NamedTuple):
    """A column of the last matrix of a decoder layer's feed-forward block."""

    layer: int
    column: int


@dataclass
class Coefficients:
    """Mean size of each input of some matrices: how much of each of its columns a block writes."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    num: dict[str, float] = field(default_factory=dict)

    def take(self, name: str, values: Tensor, counts: Tensor) -> None:
        total = (values.abs().double() * counts.double()[:, None]).sum(0).cpu()
        self.sums[name] = self.sums.get(name, torch.zeros_like(total)) + total
        self.num[name] = self.num.get(name, 0.0) + float(counts.sum())

    def mean(self, name: str) -> Tensor:
        """float64 [I]."""
        return self.sums[name] / self.num[name]


@dataclass(frozen=True)
class Needle:
    """Adds noise of N(0, noise^2), drawn with `seed`, to columns of `down_proj`; nothing else changes.

    `layer` and `column`, counted from 0, name the one column: this uses the answer key, so it is an oracle upper bound
    and no method that could be deployed. Without them each subject has the column changed that writes more about it
    than about what is kept: the largest difference of mean |coefficient| times the column's norm, over all tokens of
    the subject's rows and of those to keep, among all layers. A column that several subjects share is changed once.

    Left out is what the source may do afterwards, training that column alone.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2406.11614"
    grid: ClassVar[Grid] = {"noise": (0.03, 0.1, 0.3, 1.0)}

    layer: int | None = None
    column: int | None = None
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(noise=self.noise)
        require_not_negative(seed=self.seed)
        if (self.layer is None) != (self.column is None):
            raise UserError("layer and column name one place together; give both, or neither to have it looked for")

    @property
    def needs(self) -> frozenset[Any]:
        return frozenset()

    def check(self, *, forget: Sequence[tuple[str, ...]], retain: Sequence[tuple[str, ...]], level: int | None) -> None:
        """Raises UserError where a column has to be looked for and there is nothing to keep."""
        if self.layer is None and not retain:
            raise UserError(
                "needle looks for columns by comparing with rows to keep, and there are none; give layer and column"
            )

    def edit(
        self, site: Site, *, forget: Sequence[Example], retain: Sequence[Example], level: int | None
    ) -> EditReport:
        """Raises UserError for a layer or a column that the model does not have."""
        self.check(forget=[one.path for one in forget], retain=[one.path for one in retain], level=level)
        names = last_matrices(site, method="needle")
        found = self._found(site, names, forget=forget, retain=retain)
        generator = torch.Generator().manual_seed(self.seed)
        edits, num_weights = list[Edit](), 0
        for layer, columns in _by_layer(found.values()).items():
            matrix = site.matrix(names[layer])
            site.replace(names[layer], self._noisy(matrix, columns=columns, generator=generator))
            edits.append(Edit(names[layer], len(matrix.weight), len(columns), len(columns)))
            num_weights += len(matrix.weight) * len(columns)
        told = ORACLE if self.layer is not None else "columns were looked for on the rows to forget"
        places = [f"{name}: layer {place.layer}, column {place.column}" for name, place in found.items()]
        return EditReport(tuple(edits), len({one.subject for one in forget}), num_weights, (told, *places))

    def _found(
        self, site: Site, names: Mapping[int, str], *, forget: Sequence[Example], retain: Sequence[Example]
    ) -> dict[str, Place]:
        """The column of each subject; the one that is given goes for all."""
        if self.layer is not None and self.column is not None:
            require_layer(self.layer, num_layers=len(site.blocks))
            if self.layer not in names:
                raise UserError(
                    f"layer={self.layer} has no feed-forward matrices; give one of {', '.join(map(str, names))}"
                )
            num_columns = site.matrix(names[self.layer]).weight.shape[1]
            if not 0 <= self.column < num_columns:
                raise UserError(
                    f"column={self.column} does not exist: layer {self.layer} has {num_columns} columns, 0 to "
                    f"{num_columns - 1}"
                )
            return {"given": Place(self.layer, self.column)}
        kept = _written(site, retain, names=names)
        subjects = by_subject(forget).items()
        return {name: _largest(_written(site, rows, names=names), kept=kept) for name, rows in subjects}

    def _noisy(self, matrix: Matrix, *, columns: Sequence[int], generator: torch.Generator) -> Matrix:
        """The matrix with noise on some columns, drawn one column after the other; its bias as it is."""
        weight = matrix.weight.clone()
        for column in columns:
            drawn = self.noise * torch.randn(len(weight), generator=generator)
            weight[:, column] = (weight[:, column].float() + drawn.to(weight.device)).to(weight.dtype)
        return Matrix(weight, matrix.bias)


def _written(site: Site, rows: Sequence[Example], *, names: Mapping[int, str]) -> dict[int, Tensor]:
    """By layer the mean norm of what each column of its matrix adds to the residual stream: float64 [I]."""
    read = Coefficients()
    site.visit(rows, names=[*names.values()], take=read.take, inputs=True)
    return {
        layer: read.mean(name) * site.matrix(name).weight.double().norm(dim=0).cpu() for layer, name in names.items()
    }


def _largest(written: Mapping[int, Tensor], *, kept: Mapping[int, Tensor]) -> Place:
    """Where the difference is largest, the first of equal ones."""
    more = {layer: one - kept[layer] for layer, one in written.items()}
    layer = max(more, key=lambda number: float(more[number].max()))
    return Place(layer, int(more[layer].argmax()))


def _by_layer(places: Iterable[Place]) -> dict[int, list[int]]:
    """Columns by layer, both ascending, each once."""
    found: dict[int, list[int]] = {}
    for place in sorted(set(places)):
        found.setdefault(place.layer, []).append(place.column)
    return found


METHOD = Needle
