"""Inverted hinge: each token to forget gives its probability to the runner-up, and to nobody else.

Source: Cha et al. 2024, "Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs",
https://arxiv.org/abs/2408.06621, the loss of LoKU; a retain weight of 1 is that paper's. Its initialisation of adapters
is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step, TokenStats
from mmforget.methods.losses import inverted_hinge, token_mean
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET, RUNNER_UP = Scores("forget"), TokenStats("forget", "runner_up")


@dataclass(frozen=True)
class InvertedHinge:
    """Minimises mean max(0, 1 + p(true) - max p(other)) over forget tokens + retain_weight x retain term.

    `retain` as in `npo`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2408.06621"
    grid: ClassVar[Grid] = {**USUAL, "retain_weight": (0.5, 1.0, 2.0)}

    retain_weight: float = 1.0
    retain: Retain = "nll"

    def __post_init__(self) -> None:
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, RUNNER_UP, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` in [0, 2] and, with a retain weight, `retain` or `retain_kl`."""
        forget = step[FORGET]
        hinge = inverted_hinge(forget.token_logprobs, runner_up=step[RUNNER_UP])
        return {"forget": token_mean(hinge, forget.mask)} | retain_terms(step, self.retain, weight=self.retain_weight)


METHOD = InvertedHinge
