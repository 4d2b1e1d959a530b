"""Influence-aware NPO: each answer's preference term counts by what would change if that row were removed.

Source: Chen et al. 2025, "Graph Unlearning Meets Influence-aware Negative Preference Optimization",
https://arxiv.org/abs/2510.19479, on edges of graphs. An adaptation to answers of a language model, of its idea alone:
an edge's influence, estimated by removing it, becomes a row's, to first order by gradients (`requests.Influence`); what
it does to messages of a graph becomes a weight of the term. Its topological entropy, which holds the structure
around an edge, has no counterpart but the retain term. Beta and retain weight are those of `npo`, `influence` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Influence, Reference, Request, Scores, Step
from mmforget.methods.losses import npo, sequence_sum_logprob
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET, BEFORE = Scores("forget"), Reference("forget")


@dataclass(frozen=True)
class ByRemoval:
    """Weights [N] of rows with a mean of 1: 1 - share, and `share` times what an influence lies below 0, over the mean.

    Where no influence lies below 0, all rows weigh 1.
    """

    share: float

    def __call__(self, influences: Tensor) -> Tensor:
        below = (-influences).clamp(min=0)
        mean = float(below.mean())
        relative = below / mean if mean > 0 else below + 1
        return 1 - self.share + self.share * relative


@dataclass(frozen=True)
class InfluenceAwarePreference:
    """Minimises (2 / beta) mean w_i log(1 + (p_i / p_before,i)^beta) over forget answers + retain_weight x retain term.

    p_i is the probability of a whole answer, w_i its weight, a mean of 1 over all rows: its share `influence` goes by
    the row's influence, so that 0 is `npo`. `retain` as in `npo`. Weights in 4 or 8 bit have no gradients to measure
    influences by.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2510.19479"
    grid: ClassVar[Grid] = {**USUAL, "beta": (0.05, 0.1, 0.5), "influence": (0.25, 0.5, 1.0)}

    beta: float = 0.1
    influence: float = 0.5
    retain_weight: float = 1.0
    retain: Retain = "nll"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)
        if not 0 <= self.influence <= 1:
            raise UserError(f"influence={self.influence} is not allowed; give a share from 0 to 1")

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, BEFORE, self._weights, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0 and, with a retain weight, `retain` or `retain_kl`."""
        forget = step[FORGET]
        logprob, before = (sequence_sum_logprob(one, forget.mask) for one in (forget.token_logprobs, step[BEFORE]))
        each = step[self._weights] * npo(logprob, reference=before, beta=self.beta)
        return {"forget": each.mean()} | retain_terms(step, self.retain, weight=self.retain_weight)

    @property
    def _weights(self) -> Influence:
        return Influence("forget", ByRemoval(self.influence))


METHOD = InfluenceAwarePreference
