"""Gradient ascent on the forget answers while the retain answers' distributions stay where they were.

Source: Maini et al. 2024, TOFU, https://arxiv.org/abs/2401.06121, as KL minimisation; in FIUBench,
https://arxiv.org/abs/2411.03554, as KL, whose code averages over every position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Divergence, Request, Scores, Step
from mmforget.methods.losses import token_mean, token_mean_nll

FORGET = Scores("forget")


@dataclass(frozen=True)
class KlMinimisation:
    """Minimises -forget_weight NLL(forget) + retain_weight KL(before || now) on retain, averaged over positions.

    `positions` says which: `answer` (clean) those that predict the answer; `all` (released) image and question, too.
    The released code also counts padding, whose share depends on how rows happen to be batched; that is left out.
    """

    forget_weight: float = 1.0
    retain_weight: float = 1.0
    positions: Literal["answer", "all"] = "answer"

    def __post_init__(self) -> None:
        require_not_negative(forget_weight=self.forget_weight, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, Divergence("retain", self.positions))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and `retain_kl` >= 0, in nats a token."""
        drift = step[Divergence("retain", self.positions)]
        return {
            "forget": -self.forget_weight * token_mean_nll(step[FORGET]),
            "retain_kl": self.retain_weight * token_mean(drift.token_kl, drift.mask),
        }


METHOD = KlMinimisation
