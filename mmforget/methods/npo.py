"""Negative preference optimisation against the model before training, with gradient descent on retain answers.

Source: Zhang et al. 2024, "Negative Preference Optimization", https://arxiv.org/abs/2404.05868; beta 0.1 and retain
weight 1 (NPO+RT) are that paper's. Not among the baselines of FIUBench's own code. OFFSIDE,
https://arxiv.org/abs/2510.22535, compares the mean over a batch's tokens with that of a retain model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Reference, Request, Scores, Step
from mmforget.methods.losses import npo, sequence_mean_logprob, sequence_sum_logprob, token_mean, token_mean_nll

FORGET, RETAIN, BEFORE = Scores("forget"), Scores("retain"), Reference("forget")
GOLD = Reference("forget", of="retain_model")


@dataclass(frozen=True)
class NegativePreferenceOptimisation:
    """Minimises (2 / beta) mean log(1 + (p / p_before)^beta) over forget answers + retain_weight NLL(retain).

    `variant` says what p is: `seq_sum` (published) the probability of the whole answer; `seq_mean` its geometric mean
    a token, so that long answers do not saturate first; `offside` (as OFFSIDE released it) that of all tokens of the
    micro-batch together, and p_before is not of the model before training but of a retain model, where one is given.
    Its published beta is 0.9, and its retain weight 0.
    """

    beta: float = 0.1
    retain_weight: float = 1.0
    variant: Literal["seq_sum", "seq_mean", "offside"] = "seq_sum"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        reference = GOLD if self.variant == "offside" else BEFORE
        return (FORGET, reference, RETAIN) if self.retain_weight else (FORGET, reference)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain`."""
        reduce = {"seq_sum": sequence_sum_logprob, "seq_mean": sequence_mean_logprob, "offside": _batch_mean}[
            self.variant
        ]
        mask, before = step[FORGET].mask, step[GOLD if self.variant == "offside" else BEFORE]
        reference = reduce(before, mask)
        of_answers = npo(reduce(step[FORGET].token_logprobs, mask), reference=reference, beta=self.beta)
        terms = {"forget": of_answers.mean()}
        return terms | {"retain": self.retain_weight * token_mean_nll(step[RETAIN])} if self.retain_weight else terms


def _batch_mean(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """The mean over all masked tokens of the micro-batch: float32 [B, T] -> float32 [1]."""
    return token_mean(token_logprobs, mask)[None]


METHOD = NegativePreferenceOptimisation
