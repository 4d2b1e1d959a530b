"""NPO without a reference: each forget answer's probability a token is pushed down until it is small by itself.

Source: Fan et al. 2024, "Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning",
https://arxiv.org/abs/2410.07163; beta, delta and weights are those of its code for TOFU's forget05. OpenUnlearning,
https://arxiv.org/abs/2506.12618, has beta 4.5 and a forget weight of 0.125; for MUSE the paper's code has beta 0.7
(news) or 0.75 (books) and a retain weight of 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step, Times
from mmforget.methods.losses import sequence_mean_logprob, simnpo
from mmforget.methods.raw_logits import Alone, logit_loss, logit_requests
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET = Scores("forget")


@dataclass(frozen=True)
class SimpleNegativePreference:
    """Minimises forget_weight x forget term + retain_weight x retain term.

    `variant` says the forget term: `seq_mean` (its code for TOFU) -(2 / beta) mean log sigmoid(-beta (m + delta)) over
    answers, where m is the mean log-prob of an answer's tokens; `muse_logit` (its code for MUSE) the same of every raw
    logit in place of m, over all positions of a sequence and the whole vocabulary. `retain` as in `npo`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2410.07163"
    grid: ClassVar[Grid] = {**USUAL, "beta": (2.5, 4.5), "forget_weight": Times((0.5, 2.0))}

    beta: float = 2.5
    delta: float = 0.0
    forget_weight: float = 0.1375
    retain_weight: float = 1.0
    retain: Retain = "nll"
    variant: Literal["seq_mean", "muse_logit"] = "seq_mean"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta, forget_weight=self.forget_weight)
        require_not_negative(delta=self.delta, retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        asked = logit_requests(self._kind) if self.variant == "muse_logit" else (FORGET,)
        return (*asked, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain` or `retain_kl`."""
        return {"forget": self.forget_weight * self._forget(step)} | retain_terms(
            step, self.retain, weight=self.retain_weight
        )

    @property
    def _kind(self) -> Alone:
        return Alone(self.beta, self.delta)

    def _forget(self, step: Step) -> Tensor:
        if self.variant == "muse_logit":
            return logit_loss(step, self._kind)
        scored = step[FORGET]
        means = sequence_mean_logprob(scored.token_logprobs, scored.mask)
        return simnpo(means, beta=self.beta, delta=self.delta).mean()


METHOD = SimpleNegativePreference
