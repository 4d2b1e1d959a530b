"""Primal-dual unlearning: logits are levelled on what is to be forgotten as far as the retain answers' NLL allows.

Source: Entesari et al. 2025, "Constrained Entropic Unlearning: A Primal-Dual Framework for Large Language Models",
https://arxiv.org/abs/2506.05314, and its code in OpenUnlearning, https://arxiv.org/abs/2506.12618; the settings are
those of its runs on TOFU (on MUSE a multiplier of 50, a step of 1 and a warm-up of 3 epochs). The code takes logits at
all places, or at those of the answer's own tokens; here those that predict them count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Beginning, Evidence, Grid, Request, Scores, Step, Times, TokenStats
from mmforget.methods.losses import token_mean, token_mean_nll

RETAIN, FORGET = Scores("retain"), Scores("forget")
MULTIPLIER, PER_EPOCH, PERIOD, SUM, NUM = "multiplier", "updates_per_epoch", "period", "nll_sum", "num_micro_batches"


def above_the_mean(logprobs: Tensor, target: Tensor) -> Tensor:
    """(max logit - mean logit)^2, which log-probs tell as well: float32 [n]."""
    return (logprobs.amax(-1) - logprobs.mean(-1)).square()


LEVEL = TokenStats("forget", above_the_mean)


@dataclass(frozen=True)
class PrimalDual:
    """Minimises mean (max z - mean z)^2 over forget tokens + multiplier x (NLL(retain) - retain_bound).

    z are the logits where a token is predicted. After every `period`, an update or an epoch, the multiplier grows by
    `dual_step` times the mean of NLL(retain) - retain_bound over its micro-batches, and never falls below 0; it stays
    `multiplier` for the first `warmup_epochs`. OpenUnlearning computes an epoch's NLL anew after it; here it is that of
    the epoch's own micro-batches. The log's `state` shows the multiplier.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2506.05314"
    grid: ClassVar[Grid] = {**USUAL, "retain_bound": Times((0.5, 2.0)), "multiplier": Times((0.1, 10.0))}

    retain_bound: float = 0.3
    multiplier: float = 100.0
    dual_step: float = 5.0
    warmup_epochs: float = 5.0
    period: Literal["update", "epoch"] = "update"

    def __post_init__(self) -> None:
        require_positive(dual_step=self.dual_step)
        require_not_negative(
            retain_bound=self.retain_bound, multiplier=self.multiplier, warmup_epochs=self.warmup_epochs
        )

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, LEVEL, RETAIN)

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """The multiplier, and what is known of the present period: float32 scalars."""
        first = {MULTIPLIER: self.multiplier, PER_EPOCH: float(beginning.updates_per_epoch)}
        return {name: torch.tensor(first.get(name, 0.0)) for name in (MULTIPLIER, PER_EPOCH, PERIOD, SUM, NUM)}

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0, in squared logits, and `retain`, multiplier x (nats a token above the bound)."""
        nll = token_mean_nll(step[RETAIN])
        self._count(step, nll.item())
        excess = step.state[MULTIPLIER].item() * (nll - self.retain_bound)
        return {"forget": token_mean(step[LEVEL], step[FORGET].mask), "retain": excess}

    def _count(self, step: Step, nll: float) -> None:
        """Moves the multiplier where this micro-batch is the first of a period, and counts it among that one's."""
        state, now = step.state, step.update // self._length(step)
        if now > state[PERIOD].item():
            self._end_period(step)
            state[PERIOD], state[SUM], state[NUM] = (torch.tensor(float(one)) for one in (now, 0, 0))
        state[SUM], state[NUM] = state[SUM] + nll, state[NUM] + 1

    def _end_period(self, step: Step) -> None:
        state = step.state
        # As in the code: the epoch that ends a warm-up moves the multiplier, of updates the first behind it does.
        number = state[PERIOD].item() + (self.period == "epoch")
        if number * self._length(step) < self.warmup_epochs * state[PER_EPOCH].item():
            return
        excess = state[SUM] / state[NUM] - self.retain_bound
        state[MULTIPLIER] = (state[MULTIPLIER] + self.dual_step * excess).clamp(min=0)

    def _length(self, step: Step) -> int:
        """Updates of a period."""
        return 1 if self.period == "update" else int(step.state[PER_EPOCH].item())


METHOD = PrimalDual
