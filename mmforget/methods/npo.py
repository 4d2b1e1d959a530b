"""Negative preference optimisation against the model before training, with gradient descent on retain answers.

Source: Zhang et al. 2024, "Negative Preference Optimization", https://arxiv.org/abs/2404.05868; beta 0.1 and retain
weight 1 (NPO+RT) are that paper's, and so is `retain=kl` (NPO+KL). Not among the baselines of FIUBench's own code.
OFFSIDE, https://arxiv.org/abs/2510.22535, compares the mean over a batch's tokens with that of a retain model; MUSE,
https://arxiv.org/abs/2407.06460, compares every raw logit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Reference, Request, Scores, Step
from mmforget.methods.losses import npo, sequence_mean_logprob, sequence_sum_logprob, token_mean
from mmforget.methods.raw_logits import AgainstBefore, logit_loss, logit_requests
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET, BEFORE = Scores("forget"), Reference("forget")
GOLD = Reference("forget", of="retain_model")


@dataclass(frozen=True)
class NegativePreferenceOptimisation:
    """Minimises (2 / beta) mean log(1 + (p / p_before)^beta) over forget answers + retain_weight x retain term.

    `variant` says what p is: `seq_sum` (published) the probability of the whole answer; `seq_mean` its geometric mean
    a token, so that long answers do not saturate first; `offside` (as OFFSIDE released it) that of all tokens of the
    micro-batch together, and p_before is not of the model before training but of a retain model, where one is given.
    Its published beta is 0.9, and its retain weight 0. `muse_logit` (as MUSE released it) takes the loss of every raw
    logit in place of log p, over all positions of a sequence and the whole vocabulary, and averages that.

    `retain` says the retain term: `nll`, of the answers; `kl`, KL(before || now) where they are predicted; `kl_all`, at
    every position, image and question included, as OpenUnlearning has it but for padding. MUSE's own KL term, which
    takes raw logits for log-probs, is not offered.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2404.05868"
    grid: ClassVar[Grid] = {**USUAL, "beta": (0.05, 0.1, 0.2), "retain_weight": (1.0, 2.5)}

    beta: float = 0.1
    retain_weight: float = 1.0
    retain: Retain = "nll"
    variant: Literal["seq_sum", "seq_mean", "offside", "muse_logit"] = "seq_sum"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        asked: tuple[Request, ...] = (FORGET, GOLD if self.variant == "offside" else BEFORE)
        if self.variant == "muse_logit":
            asked = logit_requests(AgainstBefore(self.beta))
        return (*asked, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain` or `retain_kl`."""
        return {"forget": self._forget(step)} | retain_terms(step, self.retain, weight=self.retain_weight)

    def _forget(self, step: Step) -> Tensor:
        if self.variant == "muse_logit":
            return logit_loss(step, AgainstBefore(self.beta))
        reduce = {"seq_sum": sequence_sum_logprob, "seq_mean": sequence_mean_logprob, "offside": _batch_mean}[
            self.variant
        ]
        mask, before = step[FORGET].mask, step[GOLD if self.variant == "offside" else BEFORE]
        reference = reduce(before, mask)
        return npo(reduce(step[FORGET].token_logprobs, mask), reference=reference, beta=self.beta).mean()


def _batch_mean(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """The mean over all masked tokens of the micro-batch: float32 [B, T] -> float32 [1]."""
    return token_mean(token_logprobs, mask)[None]


METHOD = NegativePreferenceOptimisation
