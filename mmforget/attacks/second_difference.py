"""The answer is looked for among the tokens whose probability bends most over three layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mmforget.attacks.lens import Ends, LensAttack, at_ends, probabilities

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SecondDifference(LensAttack):
    """One or two lists of candidates for each three neighbouring layers: the tokens by the second difference.

    Source: "PD2" of UnLOK-VQA (arXiv 2505.01456), released code: the 4 first tokens of 5 second differences;
    whether the last ones count, too, is not said. Here both ends share the budget: the probability of an answer that is
    sure some layers before the last one bends downwards there.

    Args: those of `LensAttack`; neighbours among the layers are compared, whatever lies between.
        ends: `both`, or `top` for what bends upwards alone.
    """

    ends: Ends = "both"

    name: ClassVar[str] = "second_difference"
    published: ClassVar[dict[int, tuple[int, ...]]] = {32: (26, 27, 28, 29, 30, 31, 32)}
    least: ClassVar[int] = 3
    label: ClassVar[str] = "second difference"

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """By three layers, how many tokens have a larger second difference; then, for both ends, a smaller one."""
        bend = probabilities(logits, variant=self.variant).diff(n=2, dim=0)
        return at_ends(bend, token, variant=self.variant, ends=self.ends)


ATTACK = SecondDifference
