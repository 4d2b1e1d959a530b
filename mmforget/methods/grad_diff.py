"""Gradient ascent on the forget answers with gradient descent on retain answers.

Source: Liu et al. 2022, "Continual Learning and Private Unlearning", https://arxiv.org/abs/2203.12817; weights 1 and 1
as in TOFU, https://arxiv.org/abs/2401.06121, and in FIUBench, https://arxiv.org/abs/2411.03554, as GD. OFFSIDE,
https://arxiv.org/abs/2510.22535, weighs both by their rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

FORGET, RETAIN = Scores("forget"), Scores("retain")


@dataclass(frozen=True)
class GradientDifference:
    """Minimises -forget_weight NLL(forget) + retain_weight NLL(retain), each token-mean over the micro-batch.

    `variant`: `joint` as above; `offside` (as OFFSIDE released it) multiplies each weight by the share of its rows
    among those of the micro-batch, 1/4 and 3/4 with one row to forget and three to keep.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2203.12817"
    grid: ClassVar[Grid] = {**USUAL, "retain_weight": (1.0, 2.0, 5.0)}

    forget_weight: float = 1.0
    retain_weight: float = 1.0
    variant: Literal["joint", "offside"] = "joint"

    def __post_init__(self) -> None:
        require_not_negative(forget_weight=self.forget_weight, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, RETAIN)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and `retain` >= 0, in nats a token."""
        forget, retain = step[FORGET], step[RETAIN]
        share = len(forget.mask) / (len(forget.mask) + len(retain.mask))
        weights = (share, 1 - share) if self.variant == "offside" else (1.0, 1.0)
        return {
            "forget": -weights[0] * self.forget_weight * token_mean_nll(forget),
            "retain": weights[1] * self.retain_weight * token_mean_nll(retain),
        }


METHOD = GradientDifference
