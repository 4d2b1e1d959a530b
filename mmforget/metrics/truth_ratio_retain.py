"""Truth ratio on what should be kept: how far the true answer is preferred to perturbed ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import Mean, log_truth_ratio
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class TruthRatioRetain:
    """max(0, 1 - 1/r) with r = exp(mean perturbed loss - rephrased-answer loss), in [0, 1]; 0 = no preference.

    Source: FIUBench (arXiv 2411.03554), aggregate on the retain set; TOFU (arXiv 2401.06121) with R = 1/r.

    Args:
        mean: of the perturbed answers' probabilities, as in `truth_ratio`.

    Profiles:
        released: losses divide by T + 1.
        clean: losses divide by T. Mends the denominator, which shrinks the losses of short answers most.
        tofu_paper: as clean.
        openunlearning: 1/r = p_perturbed / (p_rephrased + 1e-10) (arXiv 2506.12618).
    """

    mean: Mean = "geometric"

    name = "truth_ratio_retain"
    kind: ClassVar[Kind] = "prob"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """max(0, 1 - 1/r) of one question."""
        check_profile(self, profile)
        ratio = log_truth_ratio(sample, profile=profile, mean=self.mean)
        if ratio.value is None:
            return Score(None, sample.subject, ratio.reason, ratio.lacking)
        return Score(-math.expm1(-ratio.value) if ratio.value > 0 else 0.0, sample.subject)


METRIC = TruthRatioRetain()
