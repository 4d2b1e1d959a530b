"""Gradient ascent on the forget answers with gradient descent on retain answers.

Source: Liu et al. 2022, "Continual Learning and Private Unlearning", https://arxiv.org/abs/2203.12817; weights 1 and 1
as in TOFU, https://arxiv.org/abs/2401.06121, and in FIUBench, https://arxiv.org/abs/2411.03554, as GD.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

FORGET, RETAIN = Scores("forget"), Scores("retain")


@dataclass(frozen=True)
class GradientDifference:
    """Minimises -forget_weight NLL(forget) + retain_weight NLL(retain), each token-mean over the micro-batch."""

    forget_weight: float = 1.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative(forget_weight=self.forget_weight, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, RETAIN)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and `retain` >= 0, in nats a token."""
        return {
            "forget": -self.forget_weight * token_mean_nll(step[FORGET]),
            "retain": self.retain_weight * token_mean_nll(step[RETAIN]),
        }


METHOD = GradientDifference
