"""Membership inference where a false accusation is costly: how many members are found at a low false positive rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mmforget.errors import UserError
from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.detectors import WITH_REFERENCE, WITH_SWAPPED, Name, detector, statistics_of
from mmforget.metrics.estimate import (
    count_lacking,
    count_unscored,
    is_constant,
    no_estimate,
    reasons_of_both,
)
from mmforget.metrics.mia_auc import check_apart, require_percent
from mmforget.metrics.two_sample import Group, fewest_subjects, group_of
from mmforget.statistics.true_positives import rate_at, rate_interval
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaTPR:
    """Share of members scored beyond all but `fpr` of the non-members, in [0, 1]; members = forget set.

    The most that a threshold finds whose false positive rate is at most `fpr`; blind guessing finds `fpr` of them. The
    interval is of 1,000 seeded draws of subjects of both groups with replacement (percentiles).

    Args:
        fpr: false positive rate that is allowed, above 0 and below 1; with fewer than 1 / fpr non-members none is.
        score: one of the detectors of `mia_auc`.
        percent: K of `min_k` and `min_k_pp`.
        end: `high` where members are looked for among the highest scores; `low` among the lowest ones, where they lie
            that are avoided more than what was never seen.

    Source: Carlini et al., arXiv 2112.03570, "true-positive rate at low false-positive rates".

    Profiles:
        clean: as above. Mends AUC, which a mass of cases that cannot be told apart hides behind.
    """

    fpr: float = 0.01
    score: Name = "loss"
    percent: int = 20
    end: Literal["high", "low"] = "high"

    name = "mia_tpr"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Carlini et al. (arXiv 2112.03570)"}
    range = RATE
    higher_is_better = None

    def __post_init__(self) -> None:
        if not 0.0 < self.fpr < 1.0:
            raise UserError(f"fpr is {self.fpr}; give a number above 0 and below 1")
        require_percent(self.percent)

    @property
    def statistics(self) -> tuple[str, ...]:
        """What has to be asked of each token."""
        return statistics_of(self.score)

    @property
    def reads_reference(self) -> bool:
        """Whether the retain model's log-probs are read."""
        return self.score in WITH_REFERENCE

    @property
    def reads_swapped(self) -> bool:
        """Whether every answer is read once more, behind another subject's pictures."""
        return self.score in WITH_SWAPPED

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The rate with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        check_apart(samples, other)
        scores = detector(self.score, percent=self.percent)(samples, other)
        reasons = reasons_of_both(*scores, called="holdout")
        both = [*scores.members, *scores.others]
        num_lacking, num_unscored = count_lacking(both), count_unscored(both)
        members, outside = map(self._turned, map(group_of, scores))
        if not members.values or not outside.values:
            reason = "no scored non-members" if members.values else "no scored members"
            return no_estimate(self, reasons=(*reasons, reason), num_unscored=num_unscored, num_lacking=num_lacking)
        estimate = Estimate(
            value=rate_at(members.values, outside.values, fpr=self.fpr),
            num_scored=len(members.values) + len(outside.values),
            num_unscored=num_unscored,
            range=self.range,
            constant=is_constant([*members.values, *outside.values]),
            reasons=reasons,
            num_lacking=num_lacking,
            num_subjects=fewest_subjects(members, outside),
        )
        low, high, reason = rate_interval(members, outside, fpr=self.fpr)
        return replace(estimate, low=low, high=high, reasons=(*reasons, reason) if reason else reasons)

    def _turned(self, group: Group) -> Group:
        return group if self.end == "high" else Group([-value for value in group.values], group.subjects)


METRIC = MiaTPR()
