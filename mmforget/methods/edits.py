"""What a method that edits weights is given and gives back. Imports no model and, at run time, no torch.

Such a method has `edit` instead of `loss`, and no needs. It sees the model as a `Site`: matrices by name, and what
they put out, added up over questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mmforget.types import Example

if TYPE_CHECKING:
    from torch import Tensor


class Matrix(NamedTuple):
    """A linear layer: weight [outputs, inputs] and bias [outputs], or None where it has none."""

    weight: Tensor
    bias: Tensor | None


class Sums(NamedTuple):
    """Rows of a matrix's outputs, added up, on the CPU.

    Attributes:
        total: float64 [D], sum of the rows.
        absolute: float64 [D], sum of their absolute values.
        num_rows: how many.
    """

    total: Tensor
    absolute: Tensor
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How the positions of a question become rows.

    Attributes:
        alpha: weight of the mean over image positions in a question's one row, the others' is 1 - alpha; None: the mean
            over all positions. So it is, too, for a question without an image.
        padding: what pads a batch of `batch_size` on the right counts as text, and of several images the first alone
            as image. A question's row then depends on the others in its batch.
        each_token: every image token is a row of a projector's outputs; else a question has one, the mean over each of
            its images, averaged.
        batch_size: questions a forward pass, in order. Without `padding` no number depends on it.
    """

    alpha: float | None
    padding: bool = False
    each_token: bool = False
    batch_size: int = 4


class Site(Protocol):
    """A model as an edit method sees it.

    Attributes:
        layers: names of the matrices in each decoder layer's feed-forward block, first layer first.
        projector: names of those in the vision-language projector; empty where there is none.
        family: name of the model's architecture, e.g. `qwen_vl`.
    """

    @property
    def layers(self) -> Sequence[tuple[str, ...]]: ...
    @property
    def projector(self) -> tuple[str, ...]: ...
    @property
    def family(self) -> str: ...

    def sums(self, examples: Sequence[Example], *, names: Sequence[str], pooling: Pooling) -> dict[str, Sums]:
        """Outputs (before any activation function) of each named matrix, question and answer read by the model.

        A matrix that none of the examples reaches, such as a projector's where none has an image, is left out.
        """

    def matrix(self, name: str) -> Matrix: ...

    def replace(self, name: str, matrix: Matrix) -> None:
        """Puts a matrix in the place of another of its shape; values are rounded to the model's own dtype."""


class Edit(NamedTuple):
    """One matrix that was edited: how many outputs, from how many directions, and of which rank what they lost is."""

    name: str
    num_neurons: int
    num_directions: int
    rank: int


@dataclass(frozen=True)
class EditReport:
    """What an edit did.

    Attributes:
        edits: every matrix that was edited.
        num_targets: nodes that were forgotten.
        num_weights: numbers that may have changed.
        notes: what was left out or stood in, in words.
    """

    edits: tuple[Edit, ...]
    num_targets: int
    num_weights: int
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "num_matrices": len(self.edits),
            "num_targets": self.num_targets,
            "num_weights": self.num_weights,
            "matrices": [edit._asdict() for edit in self.edits],
            "notes": list(self.notes),
        }


class EditMethod(Protocol):
    """A method that changes weights in closed form: a frozen dataclass of hyper-parameters with an `edit`."""

    @property
    def needs(self) -> frozenset[Any]:
        """Empty."""

    def check(self, *, forget: Sequence[tuple[str, ...]], retain: Sequence[tuple[str, ...]], level: int | None) -> None:
        """Raises UserError where rows with these paths cannot be forgotten this way, before any model is there."""

    def edit(
        self, site: Site, *, forget: Sequence[Example], retain: Sequence[Example], level: int | None
    ) -> EditReport:
        """Changes the site's matrices.

        Args:
            level: which part of a row's path is forgotten as a whole, 0 the outermost; None: the innermost.

        Raises UserError where nothing can be edited.
        """
