"""Weighted Min-K %: how probable the least expected tokens of the true answer are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import Sample, Score

# Tenths, not fractions: floor(T * tenths / 10) in whole numbers is what the official floor(rho * T) means.
TENTHS = (1, 2, 3, 4, 5)
WEIGHTS = (0.3, 0.3, 0.2, 0.1, 0.1)


class Weighted(NamedTuple):
    """The weighted sum over the rho that select a token, and the sum of the weights of these."""

    total: float
    weight: float


@dataclass(frozen=True)
class MinK:
    """Sum over rho of w_rho * exp(mean of the floor(rho * T) lowest token log-probs of the answer), in [0, 1].

    rho = .1, .2, .3, .4, .5 and w = .3, .3, .2, .1, .1. High = the answer looks like training data. It has no
    non-members and so no chance level: read it against the retain model, or read `mia_auc`.

    Source: FIUBench (arXiv 2411.03554), "MIA"; Min-K % is Shi et al., arXiv 2310.16789.

    Profiles:
        released: a rho with floor(rho * T) = 0 is dropped and the weights stay, so under ten tokens cap at .7 and under
            four at .2; an answer of one token scores 0.
        clean: the weights left are scaled to sum to 1, one token is unscored. Mends the cap by length.
    """

    name = "min_k"
    kind: ClassVar[Kind] = "prob"
    profiles = {"released": "FIUBench (arXiv 2411.03554), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Weighted Min-K % of the true answer's tokens."""
        check_profile(self, profile)
        answers = sample.with_role("answer")
        if not answers or not answers[0]:
            return Score(None, sample.subject, "no log-probs for 'answer'")
        if any(math.isnan(value) or value == math.inf for value in answers[0]):
            return Score(None, sample.subject, NOT_FINITE)
        found = weighted_min_k(answers[0])
        if profile == "released":
            return Score(found.total, sample.subject)
        if found.weight == 0.0:
            return Score(None, sample.subject, "an answer of one token", lacking=True)
        return Score(min(1.0, found.total / found.weight), sample.subject)


def weighted_min_k(token_logprobs: Sequence[float]) -> Weighted:
    """The weighted Min-K sum of one answer, without renormalising."""
    lowest = sorted(min(0.0, value) for value in token_logprobs)
    chosen = [(weight, len(lowest) * tenths // 10) for tenths, weight in zip(TENTHS, WEIGHTS, strict=True)]
    terms = [(weight, math.exp(math.fsum(lowest[:k]) / k)) for weight, k in chosen if k > 0]
    return Weighted(math.fsum(weight * value for weight, value in terms), math.fsum(weight for weight, _ in terms))


METRIC = MinK()
