"""Fact erasure: the probability of the forget answers is minimised, not its logarithm.

Source: Patil et al. 2023, "Can Sensitive Information Be Deleted From LLMs?", https://arxiv.org/abs/2309.17410; on
images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456. Bounded: the gradient vanishes with the probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.base import Evidence, Request, Scores, Step
from mmforget.methods.losses import answer_probability, sequence_sum_logprob

FORGET = Scores("forget")


@dataclass(frozen=True)
class FactErasure:
    """Minimises the probability of whole answers, exp(sum of log p).

    `variant` says of several answers of a micro-batch: `clean` their mean; `released` the probability of all of them
    together, the product, as the official code computes it, which vanishes the sooner the more there are. The official
    code also repeats the first sub-tokens of a longer answer in the question; that is left out.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17410"

    variant: Literal["clean", "released"] = "clean"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`probability`, between 0 and 1."""
        scored = step[FORGET]
        if self.variant == "released":
            return {"probability": sequence_sum_logprob(scored.token_logprobs, scored.mask).sum().exp()}
        return {"probability": answer_probability(scored).mean()}


METHOD = FactErasure
