"""Probability of the true answer, length-normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU, TOFU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import role_loss
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class Probability:
    """exp(-mean token loss) of the true answer, in [0, 1]: the geometric mean of its token probabilities.

    Source: TOFU (arXiv 2401.06121); FIUBench (arXiv 2411.03554), "Prob" on the forget set. On the set that is kept it
    weighs the answer against perturbed ones: `probability_normalised`.

    Profiles:
        released: p = exp(-sum of T losses / (T + 1)), as the official code divides.
        clean: p = exp(-sum of T losses / T), the published formula. Mends the denominator, which makes short answers
            look likelier.
        tofu_paper: as clean; T includes the token that ends the answer.
        openunlearning: the same (arXiv 2506.12618).
    """

    name = "probability"
    kind: ClassVar[Kind] = "prob"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": TOFU,
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Probability of one answer."""
        check_profile(self, profile)
        loss = role_loss(sample, "answer", profile=profile)
        if loss.value is None:
            return Score(None, sample.subject, loss.reason)
        return Score(math.exp(-loss.value), sample.subject)


METRIC = Probability()
