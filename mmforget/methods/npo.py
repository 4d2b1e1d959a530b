"""Negative preference optimisation against the model before training, with gradient descent on retain answers.

Source: Zhang et al. 2024, "Negative Preference Optimization", https://arxiv.org/abs/2404.05868; beta 0.1 and retain
weight 1 (NPO+RT) are that paper's. Not among the baselines of FIUBench's own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Reference, Request, Scores, Step
from mmforget.methods.losses import npo, sequence_mean_logprob, sequence_sum_logprob, token_mean_nll

FORGET, RETAIN, BEFORE = Scores("forget"), Scores("retain"), Reference("forget")


@dataclass(frozen=True)
class NegativePreferenceOptimisation:
    """Minimises (2 / beta) mean log(1 + (p / p_before)^beta) over forget answers + retain_weight NLL(retain).

    `variant` says what p is: `seq_sum` (published) the probability of the whole answer; `seq_mean` its geometric mean
    a token, so that long answers do not saturate first.
    """

    beta: float = 0.1
    retain_weight: float = 1.0
    variant: Literal["seq_sum", "seq_mean"] = "seq_sum"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, BEFORE, RETAIN) if self.retain_weight else (FORGET, BEFORE)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain`."""
        reduce = sequence_sum_logprob if self.variant == "seq_sum" else sequence_mean_logprob
        mask = step[FORGET].mask
        reference = reduce(step[BEFORE], mask)
        of_answers = npo(reduce(step[FORGET].token_logprobs, mask), reference=reference, beta=self.beta)
        terms = {"forget": of_answers.mean()}
        return terms | {"retain": self.retain_weight * token_mean_nll(step[RETAIN])} if self.retain_weight else terms


METHOD = NegativePreferenceOptimisation
