"""Adversarial privacy extraction: keyword exact match on rephrased questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.keyword_em import score_keywords
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class APE:
    """`keyword_em` over every rephrased question, in [0, 1]; the mean over rephrasings, not the worst of them.

    Source: FIUBench (arXiv 2411.03554), "APE"; not an optimised attack, in spite of its name.

    Profiles:
        released: as `keyword_em` released, on the rephrase set (three rephrasings a question).
        clean: as `keyword_em` clean. Mends the same faults.
    """

    name = "ape"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "FIUBench (arXiv 2411.03554), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Share of the keywords in the response to one rephrased question."""
        check_profile(self, profile)
        return score_keywords(sample, profile=profile)


METRIC = APE()
