"""Goes on learning the retain answers and nothing else: what is forgotten by that alone, a baseline.

Source: Kurmanji et al. 2023, https://arxiv.org/abs/2302.09880, which compares SCRUB with it as finetuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.base import Evidence, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

RETAIN = Scores("retain")


@dataclass(frozen=True)
class RetainFinetuning:
    """Minimises NLL(retain), token-mean over the micro-batch; an epoch draws one retain row for each to forget.

    Joined with another it is that one's retain term: `ceu+retain_ft`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2302.09880"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (RETAIN,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`retain` >= 0, in nats a token."""
        return {"retain": token_mean_nll(step[RETAIN])}


METHOD = RetainFinetuning
