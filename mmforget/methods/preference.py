"""Direct preference optimisation of another answer over the one to forget: what `dpo` and `idk_dpo` have in common.

Source: Rafailov et al. 2023, "Direct Preference Optimization", https://arxiv.org/abs/2305.18290, equation 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Grid, Reference, Request, Scores, Step
from mmforget.methods.losses import dpo, sequence_sum_logprob
from mmforget.methods.retaining import Retain, retain_requests, retain_terms

FORGET, BEFORE = Scores("forget"), Reference("forget")


@dataclass(frozen=True)
class Preference:
    """Hyper-parameters and loss; a method says which source has the preferred answers.

    `variant`: `scaled` multiplies the loss by 2 / beta, as those of NPO and OpenUnlearning do, so that beta towards 0
    leaves a gradient; `plain` is the formula as published, which RWKU's code uses.

    Attributes:
        preferred: name of the source, which a method sets.
    """

    preferred: ClassVar[str]
    grid: ClassVar[Grid] = {**USUAL, "beta": (0.05, 0.1, 0.5)}
    beta: float = 0.1
    retain_weight: float = 1.0
    retain: Retain = "nll"
    variant: Literal["scaled", "plain"] = "scaled"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        asked = (Scores(self.preferred), Reference(self.preferred), FORGET, BEFORE)
        return (*asked, *retain_requests(self.retain, weight=self.retain_weight))

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`preference` >= 0 and, with a retain weight, `retain` or `retain_kl`."""
        better = _gain(step, Scores(self.preferred), Reference(self.preferred))
        of_answers = dpo(better, rejected=_gain(step, FORGET, BEFORE), beta=self.beta)
        scale = 2.0 / self.beta if self.variant == "scaled" else 1.0
        return {"preference": scale * of_answers.mean()} | retain_terms(step, self.retain, weight=self.retain_weight)


def _gain(step: Step, scores: Scores, reference: Reference) -> Tensor:
    """How much each whole answer's log-prob has risen since before training: float32 [B]."""
    scored = step[scores]
    before = sequence_sum_logprob(step[reference], scored.mask)
    return sequence_sum_logprob(scored.token_logprobs, scored.mask) - before
