"""Truth ratio on what should be forgotten: can the model tell the true answer from perturbed ones?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import log_truth_ratio
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class TruthRatio:
    """min(r, 1/r) with r = exp(mean perturbed loss - rephrased-answer loss), in [0, 1]; 1 = cannot tell them apart.

    Source: FIUBench (arXiv 2411.03554), aggregate on the forget set. TOFU's ratio (arXiv 2401.06121) is 1/r, which
    gives the same number. The mean over perturbed answers is of losses, so it is geometric in probabilities.

    Profiles:
        released: losses divide by T + 1. The official logs also hold 1/r per item, which is not what is averaged.
        clean: losses divide by T. Mends the denominator, which shrinks the losses of short answers most.
    """

    name = "truth_ratio"
    kind: ClassVar[Kind] = "prob"
    profiles = {"released": "FIUBench (arXiv 2411.03554), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = None
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """min(r, 1/r) of one question, 0 where one side is impossible to the model."""
        check_profile(self, profile)
        ratio = log_truth_ratio(sample, profile=profile)
        if ratio.value is None:
            return Score(None, sample.subject, ratio.reason, ratio.lacking)
        return Score(math.exp(-abs(ratio.value)), sample.subject)


METRIC = TruthRatio()
