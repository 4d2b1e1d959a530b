"""Self-distillation: the model before training teaches its own distribution, with the true token's logit lowered.

Source: Dong et al. 2024, "UNDIAL: Self-Distillation with Adjusted Logits for Robust Unlearning in Large Language
Models", https://arxiv.org/abs/2402.10052; beta 10, a learning rate of 1e-4 and no retain term are the settings of
OpenUnlearning, https://arxiv.org/abs/2506.12618. Its code masks nothing, and lowers a token that nobody asked for where
there is no answer; here the answer's tokens alone count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Comparison, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET = Scores("forget")


@dataclass(frozen=True)
class AdjustedTeacher:
    """Cross-entropy with softmax(z0 - beta at the token that came), z0 the logits before training: float32 [n]."""

    beta: float

    def __call__(self, logprobs: Tensor, target: Tensor, before: Tensor) -> Tensor:
        lowered = before.scatter_add(-1, target[:, None], torch.full_like(before[:, :1], -self.beta))
        return -(lowered.softmax(-1) * logprobs).sum(-1)


@dataclass(frozen=True)
class SelfDistillation:
    """Minimises CE(softmax(z0 - beta e_true), p), averaged over forget tokens, + retain_weight x retain term.

    z0 are the logits before training, e_true is 1 at the token that came. At best the model says what it said before,
    with the odds of every true token e^beta times smaller. `retain` as in `npo`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2402.10052"
    grid: ClassVar[Grid] = {**USUAL, "beta": (3.0, 10.0, 30.0), "retain_weight": (0.0, 1.0)}

    beta: float = 10.0
    retain_weight: float = 0.0
    retain: Retain = "nll"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, self._distilled, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain` or `retain_kl`, in nats a token."""
        forget = token_mean(step[self._distilled], step[FORGET].mask)
        return {"forget": forget} | retain_terms(step, self.retain, weight=self.retain_weight)

    @property
    def _distilled(self) -> Comparison:
        return Comparison("forget", AdjustedTeacher(self.beta))


METHOD = SelfDistillation
