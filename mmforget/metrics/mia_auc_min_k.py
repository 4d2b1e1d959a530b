"""Membership inference by Min-K %: can forgotten people be told from people never seen by their rarest tokens?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import MUSE_CODE, NAMED_PROFILES, OPENUNLEARNING, RATE, Kind, Other, check_profile
from mmforget.metrics.membership import min_k_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaAucMinK:
    """AUC of Min-K % of the true answer, members = forget set, non-members = holdout, in [0, 1]; .5 = cannot tell.

    Min-K % = mean of the max(1, floor(T K / 100)) lowest token log-probs. Read like `mia_auc`.

    Args:
        percent: K, from 1 to 100; 20 is the paper's choice and that of open-unlearning outside MUSE, which has 40.

    Source: Shi et al., arXiv 2310.16789; AUC on forget and holdout as in open-unlearning.

    Profiles:
        clean: as above. Mends the published "MIA" of FIUBench (`min_k`), which has no non-members.
        openunlearning: without the last token, which is taken for the end of the answer; an answer that has no other
            scores 0 (arXiv 2506.12618).
        muse_paper: floor(T K / 100) without a least one, so that short texts are unscored (arXiv 2407.06460).
    """

    percent: int = 20

    name = "mia_auc_min_k"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {
        "clean": "Shi et al. (arXiv 2310.16789)",
        "openunlearning": OPENUNLEARNING,
        "muse_paper": MUSE_CODE,
    }
    range = RATE
    higher_is_better = None

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise UserError(f"percent is {self.percent}; give a whole number from 1 to 100")

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        score = partial(min_k_score, percent=self.percent, profile=profile)
        return auc_estimate(self, samples, other, score=score, as_coded=profile in NAMED_PROFILES)


METRIC = MiaAucMinK()
