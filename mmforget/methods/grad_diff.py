"""Gradient ascent on the forget answers with gradient descent on retain answers.

Source: Liu et al. 2022, "Continual Learning and Private Unlearning", https://arxiv.org/abs/2203.12817; weights 1 and 1
as in TOFU, https://arxiv.org/abs/2401.06121, and in FIUBench, https://arxiv.org/abs/2411.03554, as GD.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Need, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.types import LossParts


@dataclass(frozen=True)
class GradientDifference:
    """Minimises -forget_weight NLL(forget) + retain_weight NLL(retain), each token-mean over the micro-batch."""

    forget_weight: float = 1.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        require_not_negative(forget_weight=self.forget_weight, retain_weight=self.retain_weight)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.FORGET, Need.RETAIN})

    def loss(self, step: Step) -> LossParts:
        """Scalar, in nats a token; parts: `forget` <= 0 and `retain` >= 0."""
        forget = -self.forget_weight * token_mean_nll(step.forget.token_logprobs, step.forget.mask)
        retain = self.retain_weight * token_mean_nll(step.retain.token_logprobs, step.retain.mask)
        return LossParts(forget + retain, {"forget": forget.item(), "retain": retain.item()})


METHOD = GradientDifference
