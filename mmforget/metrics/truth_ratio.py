"""Truth ratio on what should be forgotten: can the model tell the true answer from perturbed ones?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import EPSILON, Mean, log_truth_ratio, ratio
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class TruthRatio:
    """min(r, 1/r) with r = exp(mean perturbed loss - rephrased-answer loss), in [0, 1]; 1 = cannot tell them apart.

    Source: FIUBench (arXiv 2411.03554), aggregate on the forget set. TOFU's ratio (arXiv 2401.06121) is 1/r, which
    gives the same number.

    Args:
        mean: of the perturbed answers' probabilities: `geometric`, which is that of their losses, or `arithmetic`, as
            TOFU's second script has it. The two differ by some hundredths.

    Profiles:
        released: losses divide by T + 1. The official logs also hold 1/r per item, which is not what is averaged.
        clean: losses divide by T. Mends the denominator, which shrinks the losses of short answers most.
        tofu_paper: as clean.
        openunlearning: R = p_perturbed / (p_rephrased + 1e-10) and min(R, 1 / (R + 1e-10)) (arXiv 2506.12618).
    """

    mean: Mean = "geometric"

    name = "truth_ratio"
    kind: ClassVar[Kind] = "prob"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = RATE
    higher_is_better = None
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """min(r, 1/r) of one question, 0 where one side is impossible to the model."""
        check_profile(self, profile)
        log_r = log_truth_ratio(sample, profile=profile, mean=self.mean)
        if log_r.value is None:
            return Score(None, sample.subject, log_r.reason, log_r.lacking)
        if profile == "openunlearning":
            found = ratio(log_r.value)
            return Score(min(found, 1.0 / (found + EPSILON)), sample.subject)
        return Score(math.exp(-abs(log_r.value)), sample.subject)


METRIC = TruthRatio()
