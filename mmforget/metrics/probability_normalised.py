"""Probability of the true answer against perturbed ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import EPSILON, role_loss, role_losses
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class ProbabilityNormalised:
    """p_true / (p_true + sum of p_perturbed), in [0, 1], with p = exp(-mean token loss).

    Source: FIUBench (arXiv 2411.03554), "Prob" on the retain set, official code; TOFU (arXiv 2401.06121) does
    so on real authors and world facts only.

    Profiles:
        released: each p divides its summed losses by T + 1.
        clean: each p divides its summed losses by T. Mends the denominator, which favours the shorter candidate.
        tofu_paper: as clean.
        openunlearning: 1e-10 is added to the denominator (arXiv 2506.12618), so that all impossible is 0.
    """

    name = "probability_normalised"
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
        """The true answer's share; unscored where all candidates are impossible."""
        check_profile(self, profile)
        true = role_loss(sample, "answer", profile=profile)
        false = role_losses(sample, "perturbed", profile=profile)
        if true.value is None or false.reason:
            return Score(None, sample.subject, true.reason or false.reason, false.lacking)
        if profile == "openunlearning":
            own, others = math.exp(-true.value), math.fsum(math.exp(-loss) for loss in false.values)
            return Score(own / (own + others + EPSILON), sample.subject)
        # Relative to the likeliest candidate, because exp(-loss) of a destroyed model is below the smallest float.
        least = min(true.value, *false.values)
        if math.isinf(least):
            return Score(None, sample.subject, "all candidates are impossible")
        share = math.exp(least - true.value)
        return Score(share / (share + math.fsum(math.exp(least - loss) for loss in false.values)), sample.subject)


METRIC = ProbabilityNormalised()
