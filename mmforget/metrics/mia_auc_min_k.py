"""Membership inference by Min-K %: can forgotten people be told from people never seen by their rarest tokens?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.logprobs import mean_loss
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class MiaAucMinK:
    """AUC of Min-K % of the true answer, members = forget set, non-members = holdout, in [0, 1]; .5 = cannot tell.

    Min-K % = mean of the max(1, floor(T K / 100)) lowest token log-probs. Read like `mia_auc`.

    Args:
        percent: K, from 1 to 100; 20 is the paper's choice and that of open-unlearning outside MUSE, which has 40.

    Source: Shi et al., arXiv 2310.16789; AUC on forget and holdout as in open-unlearning.

    Profiles:
        clean: as above. Mends the published "MIA" of FIUBench (`min_k`), which has no non-members.
    """

    percent: int = 20

    name = "mia_auc_min_k"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Shi et al. (arXiv 2310.16789)"}
    range = RATE
    higher_is_better = None

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise UserError(f"percent is {self.percent}; give a whole number from 1 to 100")

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        return auc_estimate(self, samples, other, score=partial(_min_k, percent=self.percent))


def _min_k(sample: Sample, *, percent: int) -> Score:
    answers = sample.with_role("answer")
    answer = answers[0] if answers else ()
    loss = mean_loss(answer, profile="clean")
    if loss.value is None:
        return Score(None, sample.subject, loss.reason)
    num_lowest = max(1, len(answer) * percent // 100)
    return Score(math.fsum(sorted(answer)[:num_lowest]) / num_lowest, sample.subject)


METRIC = MiaAucMinK()
