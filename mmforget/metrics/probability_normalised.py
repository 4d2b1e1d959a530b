"""Probability of the true answer against perturbed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import role_loss, role_losses
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class ProbabilityNormalised:
    """p_true / (p_true + sum of p_perturbed), in [0, 1], with p = exp(-mean token loss).

    Source: FIUBench's "Prob" on the retain set, official evaluation code; TOFU (arXiv 2401.06121) does so on real
    authors and world facts only.

    Profiles:
        released: each p divides its summed losses by T + 1.
        clean: each p divides its summed losses by T. Mends the denominator, which favours the shorter candidate.
    """

    name: str = "probability_normalised"
    kind: Kind = "prob"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The true answer's share; unscored where all candidates are impossible."""
        check_profile(self, profile)
        true = role_loss(sample, "answer", profile=profile)
        false = role_losses(sample, "perturbed", profile=profile)
        if true.value is None or false.reason:
            return Score(None, sample.subject, true.reason or false.reason, false.lacking)
        # Relative to the likeliest candidate, because exp(-loss) of a destroyed model is below the smallest float.
        least = min(true.value, *false.values)
        if math.isinf(least):
            return Score(None, sample.subject, "all candidates are impossible")
        share = math.exp(least - true.value)
        return Score(share / (share + math.fsum(math.exp(least - loss) for loss in false.values)), sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean share with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = ProbabilityNormalised()
