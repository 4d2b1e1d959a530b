"""Truth ratio on what should be kept: how far the true answer is preferred to perturbed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import log_truth_ratio
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class TruthRatioRetain:
    """max(0, 1 - 1/r) with r = exp(mean perturbed loss - rephrased-answer loss), in [0, 1]; 0 = no preference.

    Source: FIUBench (arXiv 2411.03554), aggregate on the retain set; TOFU (arXiv 2401.06121) with R = 1/r.

    Profiles:
        released: losses divide by T + 1.
        clean: losses divide by T. Mends the denominator, which shrinks the losses of short answers most.
    """

    name: str = "truth_ratio_retain"
    kind: Kind = "prob"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """max(0, 1 - 1/r) of one question."""
        check_profile(self, profile)
        ratio = log_truth_ratio(sample, profile=profile)
        if ratio.value is None:
            return Score(None, sample.subject, ratio.reason, ratio.lacking)
        return Score(-math.expm1(-ratio.value) if ratio.value > 0 else 0.0, sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = TruthRatioRetain()
