"""Gradient ascent on the forget answers; unbounded, destroys the model when it runs long.

Source: Jang et al. 2023, "Knowledge Unlearning for Mitigating Privacy Risks in Language Models",
https://arxiv.org/abs/2210.01504; in FIUBench, https://arxiv.org/abs/2411.03554, as GA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.base import Evidence, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

FORGET = Scores("forget")


@dataclass(frozen=True)
class GradientAscent:
    """Minimises -NLL(forget), token-mean over the micro-batch."""

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2210.01504"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0, in nats a token."""
        return {"forget": -token_mean_nll(step[FORGET])}


METHOD = GradientAscent
