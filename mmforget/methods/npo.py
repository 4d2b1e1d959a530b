"""Negative preference optimisation against the model before training, with gradient descent on retain answers.

Source: Zhang et al. 2024, "Negative Preference Optimization", https://arxiv.org/abs/2404.05868; beta 0.1 and retain
weight 1 (NPO+RT) are that paper's. Not among the baselines of FIUBench's own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Need, Step
from mmforget.methods.losses import npo_batch_mean, sequence_mean_logprob, sequence_sum_logprob, token_mean_nll
from mmforget.types import LossParts


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
    def needs(self) -> frozenset[Need]:
        needs = {Need.FORGET, Need.REFERENCE_FORGET}
        return frozenset(needs | {Need.RETAIN} if self.retain_weight else needs)

    def loss(self, step: Step) -> LossParts:
        """Scalar >= 0; parts: `forget` and, with a retain weight, `retain`."""
        reduce = sequence_sum_logprob if self.variant == "seq_sum" else sequence_mean_logprob
        mask = step.forget.mask
        reference = reduce(step.forget_reference, mask)
        forget = npo_batch_mean(reduce(step.forget.token_logprobs, mask), reference=reference, beta=self.beta)
        if not self.retain_weight:
            return LossParts(forget, {"forget": forget.item()})
        retain = self.retain_weight * token_mean_nll(step.retain.token_logprobs, step.retain.mask)
        return LossParts(forget + retain, {"forget": forget.item(), "retain": retain.item()})


METHOD = NegativePreferenceOptimisation
