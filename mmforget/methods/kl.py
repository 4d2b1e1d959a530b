"""Gradient ascent on the forget answers while the retain answers' distributions stay where they were.

Source: Maini et al. 2024, TOFU, https://arxiv.org/abs/2401.06121, as KL minimisation; in FIUBench,
https://arxiv.org/abs/2411.03554, as KL, whose code averages over every position. OFFSIDE,
https://arxiv.org/abs/2510.22535, forgets and keeps in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.methods.alternation import is_turn_to_forget, start_of_turns
from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import USUAL, Beginning, Divergence, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean, token_mean_nll

FORGET, RETAIN = Scores("forget"), Scores("retain")
OFFSIDE_WEIGHT = 0.1
"""Of the divergence beside the retain answers' NLL, in the variant `offside`."""


@dataclass(frozen=True)
class KlMinimisation:
    """Minimises -forget_weight NLL(forget) + retain_weight KL(before || now) on retain, averaged over positions.

    `positions` says which: `answer` (clean) those that predict the answer; `all` (released) image and question, too.
    The released code also counts padding, whose share depends on how rows happen to be batched; that is left out.

    `variant`: `joint` as above. `offside` (as OFFSIDE released it) takes turns: of the micro-batches the first, third,
    ... minimise -forget_weight NLL(forget), the others NLL(retain) + 0.1 retain_weight S, where S is the divergence
    summed over every position and divided by the number of rows, so that it grows with their length; padding is left
    out here, too. Two micro-batches an update (`grad_accumulation: 2`) are its published setting.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2401.06121"
    grid: ClassVar[Grid] = {**USUAL, "retain_weight": (1.0, 2.0, 5.0)}

    forget_weight: float = 1.0
    retain_weight: float = 1.0
    positions: Literal["answer", "all"] = "answer"
    variant: Literal["joint", "offside"] = "joint"

    def __post_init__(self) -> None:
        require_not_negative(forget_weight=self.forget_weight, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        if self.variant == "offside":
            return (FORGET, RETAIN, Divergence("retain", "all"))
        return (FORGET, Divergence("retain", self.positions))

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """Whose turn it is; nothing where both are in every micro-batch."""
        return start_of_turns() if self.variant == "offside" else {}

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0 and `retain_kl` >= 0, in nats a token; in turns also `retain`, and what is not due is 0."""
        if self.variant == "offside":
            return self._in_turns(step)
        drift = step[Divergence("retain", self.positions)]
        return {
            "forget": -self.forget_weight * token_mean_nll(step[FORGET]),
            "retain_kl": self.retain_weight * token_mean(drift.token_kl, drift.mask),
        }

    def _in_turns(self, step: Step) -> dict[str, Tensor]:
        nothing = step[FORGET].token_logprobs.new_zeros(())
        if is_turn_to_forget(step):
            return {
                "forget": -self.forget_weight * token_mean_nll(step[FORGET]),
                "retain": nothing,
                "retain_kl": nothing,
            }
        drift = step[Divergence("retain", "all")]
        summed = torch.where(drift.mask, drift.token_kl, nothing).sum() / len(drift.mask)
        weight = OFFSIDE_WEIGHT * self.retain_weight
        return {"forget": nothing, "retain": token_mean_nll(step[RETAIN]), "retain_kl": weight * summed}


METHOD = KlMinimisation
