"""The model is cut off behind a layer, and its head learns on rows to keep to read what is left."""

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
class TruncatedProbe:
    """One list of candidates a layer: the tokens by what a linear probe says there, a head that was trained for it.

    A probe is the model's head on the normalised states of its layer, trained on the tokens of answers that were to be
    kept by full gradient descent on cross-entropy; `steps=0` would be the logit lens. It cannot have learnt a forgotten
    answer: what it finds of one, the layer holds.

    Source: OpenUnlearning (arXiv 2506.12618), its probe of the first n layers whose head alone trains; on which rows is
    not fixed there.

    Args:
        layers: numbers of hidden states, the last layer being the model's number of layers; none: those at a quarter, a
            half, three quarters and all of the depth.
        budget: candidates over all lists, which share them evenly; every other budget is known from the ranks, too.
        rows: how many rows to keep the probes are trained on, the first ones.
        steps: of gradient descent, each as long as the curvature surely allows.
    """

    layers: tuple[int, ...] = ()
    budget: int = 20
    rows: int = 64
    steps: int = 50

    access: ClassVar[Literal["hidden"]] = "hidden"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "truncated probe"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "a forward pass of the rows to keep that it learns on, and one of a question and its answer"
    is_whole: ClassVar[bool] = True
    shares: ClassVar[dict[int, tuple[int, ...]]] = {32: (8, 16, 24, 32)}

    def __post_init__(self) -> None:
        require_positive(budget=self.budget, rows=self.rows, steps=self.steps)

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Raises UserError for a layer that the model has not."""
        layers = self.layers or layers_of(self.shares, num_layers=num_layers)
        require_layers("truncated_probe", layers, num_layers=num_layers)
        return tuple(Depth(layer - 1) for layer in layers)

    def teach(self, states: Tensor, logits: Tensor, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """What the probe adds to the head's logits [T, V], of states [T, H]; see `Probing.teach`.

        The head is W + A X for the N states X: gradient descent on W moves A alone.
        """
        import torch

        num = len(states)
        products = states @ states.T
        # The cross-entropy of a linear head curves by at most half of the largest eigenvalue of X X' / N.
        most = float(torch.linalg.eigvalsh(products.double())[-1]) / num / 2
        length = 1.0 / max(most, torch.finfo(torch.float32).tiny) / num
        weights = torch.zeros_like(logits)
        for _ in range(self.steps):
            slope = (logits + products @ weights).softmax(-1)
            slope[torch.arange(num, device=slope.device), tokens] -= 1.0
            weights -= length * slope
        return lambda found: found @ states.T @ weights

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """By layer, how many tokens are likelier."""
        return counted(logits, token, variant="clean")


ATTACK = TruncatedProbe
