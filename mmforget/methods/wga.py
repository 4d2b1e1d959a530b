"""Weighted gradient ascent: tokens that are unlikely already are left alone, so that the loss has an end.

Source: Wang et al. 2025, "Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond",
https://arxiv.org/abs/2502.19301; beta 1 and weights 1 and 1 are the settings of OpenUnlearning,
https://arxiv.org/abs/2506.12618.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import weighted_logprob
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET = Scores("forget")


@dataclass(frozen=True)
class WeightedGradientAscent:
    """Minimises -forget_weight mean(p^beta NLL) over forget tokens + retain_weight x retain term.

    p is the token's probability, and p^beta a constant weight; beta 0 is gradient ascent. `retain` as in `npo`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.19301"
    grid: ClassVar[Grid] = {**USUAL, "beta": (0.5, 1.0, 2.0), "retain_weight": (1.0, 2.0)}

    beta: float = 1.0
    forget_weight: float = 1.0
    retain_weight: float = 1.0
    retain: Retain = "nll"

    def __post_init__(self) -> None:
        require_positive(forget_weight=self.forget_weight)
        require_not_negative(beta=self.beta, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and, with a retain weight, `retain` or `retain_kl`, in nats a token."""
        weight = step[FORGET].token_logprobs.exp() ** self.beta
        forget = self.forget_weight * weighted_logprob(step[FORGET], weight=weight)
        return {"forget": forget} | retain_terms(step, self.retain, weight=self.retain_weight)


METHOD = WeightedGradientAscent
