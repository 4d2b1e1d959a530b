"""What attacks have in common that search for one vector, in a ball, that is added to every hidden state of a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Change, Shift
from mmforget.attacks.search import Search

if TYPE_CHECKING:
    from torch import Tensor

    from mmforget.lm.whitebox import WhiteBox

SHARE = 0.25
"""Of the ball's radius, how far a step goes along the gradient."""


@dataclass(frozen=True)
class ShiftSearch(Search):
    """A universal vector: learned on rows of some subjects, whose answers it is told, and tried on the others.

    A step goes a quarter of the radius along the gradient of the mean log-prob of the answers, and back into the ball.
    The first one starts from no vector at all. The best vector so far is tried.

    Source: model tampering (Che et al., arXiv 2502.05209) perturbs embeddings and states, with settings that are not
    public; learning one vector on 64 rows and trying it on the others is this harness's reading.

    Args:
        radius: L2, in median lengths of the states that it is added to.
        rows: that it learns on, of at most half of the subjects.
    """

    radius: float = 0.5
    rows: int = 16

    told: ClassVar[Literal["others"]] = "others"
    through: ClassVar[Literal["states"]] = "states"
    cost: ClassVar[str] = "as many passes of the rows that it learns on as steps, forwards and backwards, and answers"

    def search(self, asks: Sequence[Ask], box: WhiteBox) -> Iterator[Change] | Lacking:
        return self.tried(self._better(asks, box, layer=self.in_layer(box)))

    def in_layer(self, box: WhiteBox) -> int:
        """The layer whose states are changed; 0 are embeddings. Raises UserError for one that is not there."""
        return 0

    def _better(self, asks: Sequence[Ask], box: WhiteBox, *, layer: int) -> Iterator[Change]:
        import torch

        radius = self.radius * box.usual_length(asks, layer=layer)
        vector = torch.zeros(box.width())
        scores, slope = box.shift_slope(asks, layer=layer, vector=vector)
        best, score = vector, float(scores.mean())
        for _ in range(self.steps):
            vector = _in_ball(vector + SHARE * radius * slope / slope.norm().clamp_min(1e-30), radius)
            scores, slope = box.shift_slope(asks, layer=layer, vector=vector)
            if float(scores.mean()) > score:
                best, score = vector, float(scores.mean())
            yield Shift(layer, tuple(best.tolist()))


def _in_ball(vector: Tensor, radius: float) -> Tensor:
    length = float(vector.norm())
    return vector if length <= radius else vector * (radius / length)
