"""Influence-guided unlearning: gradient ascent on each answer as far as the rows to forget depend on it.

Source: Fan et al. 2025, "IMU: Influence-guided Machine Unlearning", https://arxiv.org/abs/2508.01620. Adapted: its
code for language models takes the influences of a micro-batch among themselves, so that one answer alone always weighs
1, and of labels that are not shifted; here they are those of all rows to forget, measured once before training. It
reads attention in layers 19 to 21, here the last third of any model's, and trains these alone (`--lora_target_modules`
says what trains here). Its L1 term (0.02) has no gradient there, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Evidence, Influence, Request, Scores, Step
from mmforget.methods.losses import sequence_mean_logprob

FORGET = Scores("forget")
CLIP = 0.93
"""The share of rows whose weights stay as they are; those above are as large as the largest of them."""


def guided(influences: Tensor) -> Tensor:
    """Weights [N] of rows with a mean of 1: the root of what an influence lies below 0, cut at the 93rd percentile.

    Raises UserError where no influence lies below 0.
    """
    roots = (-influences).clamp(min=0).sqrt()
    cut = roots.clamp(max=float(torch.quantile(roots, CLIP)))
    # Of a few rows the percentile may lie among those that weigh nothing.
    weights = cut if float(cut.sum()) > 0 else roots
    if not float(weights.sum()) > 0:
        raise UserError(
            "method 'imu': no row to forget has an influence below 0, so that none would be forgotten; take a model "
            "that has learnt them, or a method that weighs all rows alike, such as ga"
        )
    return weights / weights.mean()


WEIGHTS = Influence("forget", guided)


@dataclass(frozen=True)
class InfluenceGuided:
    """Minimises mean(w_i log p_i) over forget answers, log p_i averaged over an answer's tokens.

    Over all rows the weights w_i have a mean of 1, so that an epoch is the published sum of w_i log p_i / sum of w_i.
    There is no retain term; `imu+retain_ft` adds one. Weights in 4 or 8 bit have no gradients to measure by.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2508.01620"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, WEIGHTS)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0, in nats a token."""
        forget = step[FORGET]
        return {"forget": (step[WEIGHTS] * sequence_mean_logprob(forget.token_logprobs, forget.mask)).mean()}


METHOD = InfluenceGuided
