"""The answer is looked for among the tokens whose probability changes most from one layer to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mmforget.attacks.lens import Ends, LensAttack, at_ends, probabilities

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ProbabilityDelta(LensAttack):
    """One or two lists of candidates for each two neighbouring layers: the tokens by how far they rise, or fall.

    Source: "PD" of UnLOK-VQA (arXiv 2505.01456), released code: 2 tokens from either end of 5 differences.

    Args: those of `LensAttack`; neighbours among the layers are compared, whatever lies between.
        ends: `both`, or `top` for what rises alone.
    """

    ends: Ends = "both"

    name: ClassVar[str] = "probability_delta"
    published: ClassVar[dict[int, tuple[int, ...]]] = {32: (27, 28, 29, 30, 31, 32)}
    least: ClassVar[int] = 2
    label: ClassVar[str] = "probability delta"

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """By pair of layers, how many tokens rise more; then, for both ends, how many fall more."""
        delta = probabilities(logits, variant=self.variant).diff(dim=0)
        return at_ends(delta, token, variant=self.variant, ends=self.ends)


ATTACK = ProbabilityDelta
