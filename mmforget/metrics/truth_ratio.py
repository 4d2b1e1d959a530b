"""Truth ratio on what should be forgotten: can the model tell the true answer from perturbed ones?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import log_truth_ratio
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class TruthRatio:
    """min(r, 1/r) with r = exp(mean perturbed loss - rephrased-answer loss), in [0, 1]; 1 = cannot tell them apart.

    Source: FIUBench (arXiv 2411.03554), aggregate on the forget set. TOFU's ratio (arXiv 2401.06121) is 1/r, which
    gives the same number. The mean over perturbed answers is of losses, so it is geometric in probabilities.

    Profiles:
        released: losses divide by T + 1. The official logs also hold 1/r per item, which is not what is averaged.
        clean: losses divide by T. Mends the denominator, which shrinks the losses of short answers most.
    """

    name: str = "truth_ratio"
    kind: Kind = "prob"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = None

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """min(r, 1/r) of one question, 0 where one side is impossible to the model."""
        check_profile(self, profile)
        ratio = log_truth_ratio(sample, profile=profile)
        if ratio.value is None:
            return Score(None, sample.subject, ratio.reason, ratio.lacking)
        return Score(math.exp(-abs(ratio.value)), sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = TruthRatio()
