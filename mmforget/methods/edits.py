"""What a method that edits weights is given and gives back. Imports no model and, at run time, no torch.

Such a method has `edit` instead of `loss`, and no needs. It sees the model as a `Site`: matrices by name, what they
put out, added up over questions, and what they compute place by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mmforget.errors import UserError
from mmforget.types import Example, Matrix, Pooling, Spot, Steered, Sums, TakeRows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Edit",
    "EditMethod",
    "EditReport",
    "Matrix",
    "Pooling",
    "Site",
    "Spot",
    "Steered",
    "Sums",
    "TakeRows",
    "last_matrices",
    "require_layer",
]


class Site(Protocol):
    """A model as an edit method sees it.

    Attributes:
        layers: names of the matrices in each decoder layer's feed-forward block, first layer first.
        projector: names of those in the vision-language projector; empty where there is none.
        tower: names of those in each feed-forward block of the vision tower, first block first, of the blocks whose
            output the model reads; empty where there is no tower.
        blocks: names of the decoder layers themselves, whose output is the residual stream, first layer first.
        family: name of the model's architecture, e.g. `qwen_vl`.
    """

    @property
    def layers(self) -> Sequence[tuple[str, ...]]: ...
    @property
    def projector(self) -> tuple[str, ...]: ...
    @property
    def tower(self) -> Sequence[tuple[str, ...]]: ...
    @property
    def blocks(self) -> Sequence[str]: ...
    @property
    def family(self) -> str: ...

    def sums(self, examples: Sequence[Example], *, names: Sequence[str], pooling: Pooling) -> dict[str, Sums]:
        """Outputs (before any activation function) of each named matrix, question and answer read by the model.

        A matrix that none of the examples reaches, such as a projector's where none has an image, is left out.
        """

    def visit(
        self,
        examples: Sequence[Example],
        *,
        names: Sequence[str],
        take: TakeRows,
        at: Spot = "all",
        inputs: bool = False,
    ) -> None:
        """Tells `take` what matrices, or `blocks`, put out or take in where the model reads questions and answers.

        A place that several questions share, such as an image's, is told once and counts for each of them. Matrices of
        the tower are told of whole images, whatever `at` says; those of the projector are not told of.
        """

    def steered(self, example: Example, *, name: str, shift: Tensor, at: Spot) -> Steered:
        """What the model says of an example's answer where `shift` [D] is added to what a module puts out at a spot."""

    def matrix(self, name: str) -> Matrix: ...

    def replace(self, name: str, matrix: Matrix) -> None:
        """Puts a matrix in the place of another of its shape; values are rounded to the model's own dtype."""


def last_matrices(site: Site, *, method: str) -> dict[int, str]:
    """The matrix that ends a decoder layer's feed-forward block, `down_proj` in most, by the layer's number.

    Layers are counted as the model counts them, those without such a block included. Its columns are what the block may
    write into the residual stream, each times one of its inputs. Raises UserError for a model whose blocks are not
    known.
    """
    if not site.layers:
        raise UserError(f"{method} edits the feed-forward matrices of decoder layers, and this model has none it knows")
    ends = [layer[-1] for layer in site.layers]
    return {at: name for at, block in enumerate(site.blocks) for name in ends if name.startswith(f"{block}.")}


def require_layer(layer: int, *, num_layers: int, name: str = "layer") -> None:
    """Raises UserError for a layer that the model does not have."""
    if not 0 <= layer < num_layers:
        raise UserError(f"{name}={layer} does not exist: the model has {num_layers} layers, 0 to {num_layers - 1}")


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
        num_targets: nodes or subjects that were forgotten.
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
    """A method that changes weights in closed form: a frozen dataclass of hyper-parameters with an `edit`.

    It may have `lacks(material)`, as trained methods have.
    """

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
