"""Adversarial privacy extraction: keyword exact match on rephrased questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.keyword_em import score_keywords
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class APE:
    """`keyword_em` over every rephrased question, in [0, 1]; the mean over rephrasings, not the worst of them.

    Source: FIUBench (arXiv 2411.03554), "APE"; not an optimised attack, in spite of its name.

    Profiles:
        released: as `keyword_em` released, on the rephrase set (three rephrasings a question).
        clean: as `keyword_em` clean. Mends the same faults.
    """

    name: str = "ape"
    kind: Kind = "gen"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Share of the keywords in the response to one rephrased question."""
        check_profile(self, profile)
        return score_keywords(sample, profile=profile)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean share with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = APE()
