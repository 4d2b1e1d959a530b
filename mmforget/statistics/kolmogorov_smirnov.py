"""The two-sample Kolmogorov-Smirnov test, exact and in logarithms, so that it tells models apart where p underflows.

N values of the first sample and M of the second. Hodges, The significance probability of the Smirnov two-sample test,
Arkiv for Matematik 3 (1958): every order of the pooled values is a path through a grid of N x M, all are equally
likely, and p is the share of paths that come as far from the diagonal as the two samples do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 10_000
"""Values of the larger sample up to which p is exact; the time grows with N x M."""
LOG10_FLOOR = -10_000.0
"""Below what two samples of that size can reach, which is -6018."""
TIE = 1e-6
"""Values nearer than this, or than this share of their size, are ties: log-probs in float32 are no more precise."""


class KSResult(NamedTuple):
    """Two-sample Kolmogorov-Smirnov test: p in [0, 1], distance D in [0, 1], log10 of p, finite."""

    p: float
    distance: float
    log10_p: float


def ks_test(first: Sequence[float], second: Sequence[float]) -> KSResult:
    """Two-sided test, exact up to 10,000 values. Infinite values are allowed, NaN is not; ties are taken as they are.

    Beyond that size p is scipy's asymptotic one, and where it underflows its logarithm comes from the leading term of
    the series, 2 exp(-2 n D^2) with n = N M / (N + M).
    """
    num_first, num_second = len(first), len(second)
    gap = _largest_gap(np.sort(first), np.sort(second))
    distance = gap / (num_first * num_second)
    if max(num_first, num_second) <= EXACT_UP_TO:
        log_p = _log_p(num_first, num_second, gap=gap)
        return KSResult(math.exp(log_p), distance, log_p / math.log(10))
    from scipy.stats import ks_2samp

    p = min(1.0, max(0.0, float(ks_2samp(first, second, method="asymp").pvalue)))
    effective = num_first * num_second / (num_first + num_second)
    leading = (math.log(2) - 2 * effective * distance**2) / math.log(10)
    smallest = math.log10(np.finfo(float).tiny)
    log10_p = math.log10(p) if p > np.finfo(float).tiny else min(smallest, leading)
    return KSResult(p, distance, max(LOG10_FLOOR, log10_p))


def lowest_log10_p(num_first: int, num_second: int) -> float:
    """log10 of the smallest p that samples of these sizes can reach: all values of one below all of the other's.

    Of all orders of the pooled values two are so: p = 2 / C(N + M, N).
    """
    log_orders = math.lgamma(num_first + num_second + 1) - math.lgamma(num_first + 1) - math.lgamma(num_second + 1)
    return min(0.0, (math.log(2.0) - log_orders) / math.log(10.0))


def is_floor(found: KSResult) -> bool:
    """Whether the samples are wholly apart, so that p says how many values there are and nothing else."""
    return found.distance == 1.0


def tied(*groups: Sequence[float]) -> list[list[float]]:
    """The groups with values that differ by rounding alone made equal, in all groups together, order kept.

    Two models that answer alike differ by noise that may fall on one side for all of many equal values, and then the
    distance between them is not small. Neighbours are ties where they are near, so that no border cuts them apart.
    """
    pooled = np.unique(np.concatenate([np.asarray(group, dtype=np.float64) for group in groups]))
    if not pooled.size:
        return [list(group) for group in groups]
    with np.errstate(invalid="ignore"):
        is_new = np.diff(pooled) > TIE * np.maximum(1.0, np.abs(pooled[:-1]))
    # From the lower infinity everything finite is infinitely far, which the comparison above cannot say.
    is_new |= np.isinf(pooled[:-1])
    first_of = pooled[np.concatenate([[0], np.flatnonzero(is_new) + 1])]
    places = np.concatenate([[0], np.cumsum(is_new)])
    return [first_of[places[np.searchsorted(pooled, np.asarray(group, dtype=np.float64))]].tolist() for group in groups]


def _largest_gap(first: NDArray[np.float64], second: NDArray[np.float64]) -> int:
    """D times N M, a whole number: the largest difference of M x (first at most x) and N x (second at most x)."""
    grid = np.concatenate([first, second])
    below_first = np.searchsorted(first, grid, side="right").astype(np.int64)
    below_second = np.searchsorted(second, grid, side="right").astype(np.int64)
    return int(np.abs(below_first * len(second) - below_second * len(first)).max())


def _log_p(num_first: int, num_second: int, *, gap: int) -> float:
    """Logarithm of the share of paths that somewhere come as far as `gap` from the diagonal.

    Step by step the share of those that have done so among all that reach a point; sums of positive numbers, so that
    even the smallest share keeps its digits.
    """
    if gap == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        logs = np.log(np.arange(num_first + num_second + 1))
    found = np.full(num_first + 2, -np.inf)  # by the number of values of the first sample, shifted by one
    for length in range(1, num_first + num_second + 1):
        low, high = max(0, length - num_second), min(num_first, length)
        steps = np.arange(low, high + 1)
        # The last value was of the first sample, coming from one fewer of these, or of the second.
        by_first = found[low : high + 1] + logs[low : high + 1]
        by_second = found[low + 1 : high + 2] + logs[length - high : length - low + 1][::-1]
        share = np.logaddexp(by_first, by_second) - logs[length]
        share[np.abs(steps * num_second - (length - steps) * num_first) >= gap] = 0.0
        found[low + 1 : high + 2] = share
    return min(0.0, float(found[-1]))
