"""Gradient ascent on the forget answers; unbounded, destroys the model when it runs long.

Source: Jang et al. 2023, "Knowledge Unlearning for Mitigating Privacy Risks in Language Models",
https://arxiv.org/abs/2210.01504; in FIUBench, https://arxiv.org/abs/2411.03554, as GA.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmforget.methods.base import Need, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.types import LossParts


@dataclass(frozen=True)
class GradientAscent:
    """Minimises -NLL(forget), token-mean over the micro-batch."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.FORGET})

    def loss(self, step: Step) -> LossParts:
        """Scalar <= 0, in nats a token; parts: `forget`."""
        total = -token_mean_nll(step.forget.token_logprobs, step.forget.mask)
        return LossParts(total, {"forget": total.item()})


METHOD = GradientAscent
