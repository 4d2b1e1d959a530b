"""Membership inference by Min-K %: can forgotten people be told from people never seen by their rarest tokens?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.logprobs import mean_loss
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample, Score

# A fifth: k = 20 % is the paper's choice and that of open-unlearning outside MUSE.
DIVISOR = 5


@dataclass(frozen=True)
class MiaAucMinK:
    """AUC of Min-20 % of the true answer, members = forget set, non-members = holdout, in [0, 1]; .5 = cannot tell.

    Min-20 % = mean of the max(1, floor(T / 5)) lowest token log-probs. Read like `mia_auc`, against the retain model.

    Source: Shi et al., arXiv 2310.16789; AUC on forget and holdout as in open-unlearning.

    Profiles:
        clean: as above. Mends the published "MIA" of FIUBench (`min_k`), which has no non-members.
    """

    name: str = "mia_auc_min_k"
    kind: Kind = "prob"
    other: Other = "holdout"
    profiles: tuple[str, ...] = ("clean",)
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = None

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        return auc_estimate(self, samples, other, score=_min_k)


def _min_k(sample: Sample) -> Score:
    answers = sample.with_role("answer")
    answer = answers[0] if answers else ()
    loss = mean_loss(answer, profile="clean")
    if loss.value is None:
        return Score(None, sample.subject, loss.reason)
    num_lowest = max(1, len(answer) // DIVISOR)
    return Score(math.fsum(sorted(answer)[:num_lowest]) / num_lowest, sample.subject)


METRIC = MiaAucMinK()
