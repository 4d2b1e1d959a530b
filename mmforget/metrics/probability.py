"""Probability of the true answer, length-normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import role_loss
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class Probability:
    """exp(-mean token loss) of the true answer, in [0, 1]: the geometric mean of its token probabilities.

    Source: TOFU (arXiv 2401.06121); FIUBench's "Prob" on the forget set. On the set that is kept FIUBench weighs the
    answer against perturbed ones: `probability_normalised`.

    Profiles:
        released: p = exp(-sum of T losses / (T + 1)), as the official code divides.
        clean: p = exp(-sum of T losses / T), the published formula. Mends the denominator, which makes short answers
            look likelier.
    """

    name: str = "probability"
    kind: Kind = "prob"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Probability of one answer."""
        check_profile(self, profile)
        loss = role_loss(sample, "answer", profile=profile)
        if loss.value is None:
            return Score(None, sample.subject, loss.reason)
        return Score(math.exp(-loss.value), sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean probability with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = Probability()
