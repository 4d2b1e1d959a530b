"""Membership inference by Min-K %++: by the tokens that are rarest for their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, Kind, Other, check_profile
from mmforget.metrics.membership import STATISTICS, min_k_pp_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaAucMinKPP:
    """AUC of Min-K %++ of the true answer, members = forget set, non-members = holdout, in [0, 1]; .5 = cannot tell.

    Of z = (log p - mu) / sigma, with mean and standard deviation of the log-prob of a token drawn in that place, the
    mean of the max(1, floor(T K / 100)) lowest. A variance below 1e-6 counts as that. Read like `mia_auc`.

    Args:
        percent: K, from 1 to 100.

    Source: Zhang et al., arXiv 2404.02936; AUC on forget and holdout as in OpenUnlearning (arXiv 2506.12618).

    Profiles:
        clean: as above. Mends the last token that is left out as the end of the answer.
        openunlearning: without the last token; an answer that has no other scores 0; its default is K = 40.
    """

    percent: int = 20

    name = "mia_auc_min_k_pp"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Zhang et al. (arXiv 2404.02936)", "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = None
    statistics: ClassVar[tuple[str, ...]] = STATISTICS

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise UserError(f"percent is {self.percent}; give a whole number from 1 to 100")

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        score = partial(min_k_pp_score, percent=self.percent, profile=profile)
        return auc_estimate(self, samples, other, score=score, as_coded=profile in NAMED_PROFILES)


METRIC = MiaAucMinKPP()
