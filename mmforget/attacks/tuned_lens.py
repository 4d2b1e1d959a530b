"""The answer is looked for at several layers, each brought to the last one's terms by a map learned on rows to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.asking import Depth
from mmforget.attacks.lens import counted, layers_of, require_layers
from mmforget.methods.arguments import require_positive

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TunedLens:
    """One list of candidates a layer: the tokens by their probability there, read through a map of that layer.

    A layer's map takes its states to the last layer's, affine, by least squares over the tokens of answers that were to
    be kept, with a ridge penalty on how far it is from leaving states as they are: the logit lens is the limit of a
    large penalty. What the layers behind do to every answer is thus done as well, and what they do to forgotten answers
    alone is not: knowledge that is suppressed at the end comes to light.

    Source: "tuned lens", Belrose et al. (arXiv 2303.08112), there learned by gradient descent on the Kullback-Leibler
    divergence of the last layer's distribution, with the weights of a corpus.

    Args:
        layers: numbers of hidden states, the last layer being the model's number of layers; none: those at a quarter, a
            half and three quarters of the depth, and the last but one.
        budget: candidates over all lists, which share them evenly; every other budget is known from the ranks, too.
        rows: how many rows to keep the maps are learned on, the first ones.
        ridge: the penalty, in mean squared lengths of a layer's centred states.
    """

    layers: tuple[int, ...] = ()
    budget: int = 20
    rows: int = 64
    ridge: float = 1.0

    access: ClassVar[Literal["hidden"]] = "hidden"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "tuned lens"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "a forward pass of the rows to keep that it learns on, and one of a question and its answer"
    is_whole: ClassVar[bool] = True
    shares: ClassVar[dict[int, tuple[int, ...]]] = {32: (8, 16, 24, 31)}

    def __post_init__(self) -> None:
        require_positive(budget=self.budget, rows=self.rows, ridge=self.ridge)

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Raises UserError for a layer that the model has not."""
        layers = self.layers or layers_of(self.shares, num_layers=num_layers)
        require_layers("tuned_lens", layers, num_layers=num_layers)
        return tuple(Depth(layer - 1) for layer in layers)

    def learn(self, states: Tensor, last: Tensor) -> Callable[[Tensor], Tensor]:
        """What brings states [T, D, H] to the last layer's terms; see `Learning.learn`."""
        import torch

        maps = [_affine(states[:, at], last, ridge=self.ridge) for at in range(states.shape[1])]
        return lambda found: torch.stack([move(found[:, at]) for at, move in enumerate(maps)], dim=1)

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """By layer, how many tokens are likelier."""
        return counted(logits, token, variant="clean")


def _affine(states: Tensor, last: Tensor, *, ridge: float) -> Callable[[Tensor], Tensor]:
    """h + b + (h - mean) B of least |X B - (Y - X)|^2 + penalty |B|^2, both centred, by its N x N dual."""
    import torch

    centre, shift = states.mean(dim=0), (last - states).mean(dim=0)
    inputs, rest = (states - centre).double(), (last - states - shift).double()
    products = inputs @ inputs.T
    penalty = ridge * max(float(products.diagonal().mean()), torch.finfo(torch.float32).tiny)
    weights = torch.linalg.solve(products + penalty * torch.eye(len(inputs), dtype=torch.float64), rest)

    def move(found: Tensor) -> Tensor:
        moved: Tensor = found + shift + ((found - centre).double() @ inputs.T @ weights).float()
        return moved

    return move


ATTACK = TunedLens
