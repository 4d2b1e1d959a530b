"""Gradient ascent whose tokens weigh by saturation and importance: neither those unlikely nor those still certain.

Source: Yang et al. 2025, "Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning",
https://arxiv.org/abs/2505.11953; exponents 5 and 1 and weights 1 and 0.1 are those of its code in OpenUnlearning,
https://arxiv.org/abs/2506.12618, whose own configuration has the weights the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import weighted_logprob
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET = Scores("forget")


@dataclass(frozen=True)
class SaturationImportance:
    """Minimises -forget_weight mean(p^beta1 (1 - p)^beta2 NLL) over forget tokens + retain_weight x retain term.

    p is the token's probability, and what stands before NLL a constant weight. `retain` as in `npo`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2505.11953"
    grid: ClassVar[Grid] = {**USUAL, "beta1": (1.0, 5.0), "retain_weight": (0.1, 1.0)}

    beta1: float = 5.0
    beta2: float = 1.0
    forget_weight: float = 1.0
    retain_weight: float = 0.1
    retain: Retain = "nll"

    def __post_init__(self) -> None:
        require_positive(forget_weight=self.forget_weight)
        require_not_negative(beta1=self.beta1, beta2=self.beta2, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and, with a retain weight, `retain` or `retain_kl`, in nats a token."""
        logprobs = step[FORGET].token_logprobs.detach()
        # 1 - p without the rounding of p, which is nearly 1 where an answer is remembered.
        weight = logprobs.exp() ** self.beta1 * (-torch.expm1(logprobs)) ** self.beta2
        forget = self.forget_weight * weighted_logprob(step[FORGET], weight=weight)
        return {"forget": forget} | retain_terms(step, self.retain, weight=self.retain_weight)


METHOD = SaturationImportance
