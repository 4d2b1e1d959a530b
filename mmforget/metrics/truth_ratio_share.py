"""Truth ratio as a share: how much of the probability of true and perturbed answers the true one has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import EPSILON, log_truth_ratio, role_loss
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class TruthRatioShare:
    """p / (p + q), in [0, 1]: p of the rephrased answer, q the geometric mean over perturbed ones; .5 = cannot tell.

    Each p = exp(-mean token loss). Unlike `truth_ratio` it falls all the way as the truth becomes less likely.

    Source: `prob_mean`, the form that OpenUnlearning (arXiv 2506.12618) tries metrics in.

    Profiles:
        openunlearning: 1e-10 is added to the denominator.
        clean: nothing is added; unscored where both are impossible. Mends that an impossible pair is 0.
    """

    name = "truth_ratio_share"
    kind: ClassVar[Kind] = "prob"
    profiles = {"openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The true answer's share of one question."""
        check_profile(self, profile)
        if profile == "openunlearning":
            true, false = (role_loss(sample, role, profile=profile) for role in ("rephrased", "perturbed"))
            if true.value is None or false.value is None:
                return Score(None, sample.subject, true.reason or false.reason, true.lacking or false.lacking)
            p, q = math.exp(-true.value), math.exp(-false.value)
            return Score(p / (p + q + EPSILON), sample.subject)
        log_r = log_truth_ratio(sample, profile=profile)
        if log_r.value is None:
            return Score(None, sample.subject, log_r.reason, log_r.lacking)
        return Score(_logistic(log_r.value), sample.subject)


def _logistic(value: float) -> float:
    """1 / (1 + exp(-value)) without overflow."""
    small = math.exp(-abs(value))
    return 1.0 / (1.0 + small) if value >= 0 else small / (1.0 + small)


METRIC = TruthRatioShare()
