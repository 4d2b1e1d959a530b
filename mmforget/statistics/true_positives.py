"""True positive rate at a false positive rate, with an interval from resampled subjects.

N values of the positives and M of the negatives; C subjects of a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmforget.statistics.jackknife import LEVEL, MIN_SUBJECTS, Interval, no_interval

NUM_DRAWS = 1000
ROUNDING = 1e-9
"""So that a rate of 0.01 allows one of a hundred, whatever floats make of the product."""

Floats = NDArray[np.float64]


class Values(Protocol):
    """Values and the subject of each, aligned."""

    @property
    def values(self) -> Sequence[float]: ...
    @property
    def subjects(self) -> Sequence[str]: ...


def rate_at(positive: Sequence[float], negative: Sequence[float], *, fpr: float) -> float:
    """Share of positives above a threshold that at most `fpr` of the negatives are above; the most that one finds."""
    weights = (np.ones(len(positive)), np.ones(len(negative)))
    return _rate(np.asarray(positive, float), np.asarray(negative, float), weights=weights, fpr=fpr)


def rate_interval(positive: Values, negative: Values, *, fpr: float) -> Interval:
    """95 % interval of `rate_at` by percentiles, over subjects of both groups drawn with replacement. Seeded."""
    num_subjects = min(len(set(group.subjects)) for group in (positive, negative))
    if num_subjects < MIN_SUBJECTS:
        return Interval(None, None, no_interval(num_subjects))
    values = [np.asarray(group.values, float) for group in (positive, negative)]
    value = rate_at(positive.values, negative.values, fpr=fpr)
    generator = np.random.default_rng(0)
    draws = [_weights(group.subjects, generator=generator) for group in (positive, negative)]
    rates = [_rate(*values, weights=weights, fpr=fpr) for weights in zip(*draws, strict=True)]
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(min(value, float(low)), max(value, float(high)))


def _weights(subjects: Sequence[str], *, generator: np.random.Generator) -> Floats:
    """How often each value's subject is drawn, by draw: float64 [NUM_DRAWS, N]."""
    names, codes = np.unique(np.asarray(subjects), return_inverse=True)
    counts = generator.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=NUM_DRAWS)
    weights: Floats = counts[:, codes].astype(np.float64)
    return weights


def _rate(positive: Floats, negative: Floats, *, weights: tuple[Floats, Floats], fpr: float) -> float:
    order = np.argsort(-negative, kind="stable")
    above = np.cumsum(weights[1][order])
    allowed = math.floor(fpr * above[-1] + ROUNDING)
    threshold = negative[order[int(np.searchsorted(above, allowed, side="right"))]]
    return float(weights[0][positive > threshold].sum() / weights[0].sum())
