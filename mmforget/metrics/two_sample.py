"""Two-sample statistics with ties, and their bootstrap draws by subject.

N values of the first group and M of the second; R resamples; C and D subjects.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmforget.metrics.bootstrap import NUM_RESAMPLES, Clusters, Floats, clusters, resample_counts
from mmforget.types import Score

LOG10_FLOOR = -400.0


class Group(NamedTuple):
    """Values and the subject of each, aligned."""

    values: list[float]
    subjects: list[str]


def group_of(scores: Sequence[Score]) -> Group:
    """The scored ones among scores."""
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    return Group([value for value, _ in scored], [subject for _, subject in scored])


class KSResult(NamedTuple):
    """Two-sample Kolmogorov-Smirnov test: p in [0, 1], distance D in [0, 1], log10 of p, cut off at -400."""

    p: float
    distance: float
    log10_p: float


def ks_test(first: Sequence[float], second: Sequence[float]) -> KSResult:
    """Scipy's two-sided two-sample KS test, exact up to 10,000 values. Infinite values are allowed, NaN is not.

    Where p is below the smallest float its logarithm comes from the leading term of the asymptotic series,
    2 exp(-2 n D^2) with n = N M / (N + M).
    """
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():
        # An exact p that rounds to just above 1 makes scipy warn and take the asymptotic one, 1 within 1e-4.
        warnings.filterwarnings("ignore", message="ks_2samp: Exact calculation unsuccessful", category=RuntimeWarning)
        found = ks_2samp(first, second)
    p, distance = min(1.0, max(0.0, float(found.pvalue))), float(found.statistic)
    if p > 0.0:
        return KSResult(p, distance, max(LOG10_FLOOR, math.log10(p)))
    num = len(first) * len(second) / (len(first) + len(second))
    return KSResult(p, distance, max(LOG10_FLOOR, (math.log(2) - 2 * num * distance**2) / math.log(10)))


def ks_distance_draws(first: Group, second: Group, *, seed: int = 0, num_resamples: int = 1000) -> Floats:
    """Draws [R] of D; empty where either group has fewer than two subjects.

    Both groups are resampled with one seed, so two models asked about the same subjects keep them in pairs. Resampling
    adds its own distance between two samples; the draws are moved so that their median is the observed D.
    """
    one, two = clusters(first.subjects), clusters(second.subjects)
    if min(one.num_subjects, two.num_subjects) < 2:
        return np.empty(0)
    grid = np.unique(np.concatenate([first.values, second.values]))
    below_one, below_two = _cumulative(first, one, grid), _cumulative(second, two, grid)
    counts_one = resample_counts(one.num_subjects, num_resamples=num_resamples, seed=seed)
    counts_two = resample_counts(two.num_subjects, num_resamples=num_resamples, seed=seed)
    observed = np.abs(below_one.sum(0) / len(first.values) - below_two.sum(0) / len(second.values)).max()
    draws = np.array([_distance(a @ below_one, b @ below_two) for a, b in zip(counts_one, counts_two, strict=True)])
    moved: Floats = np.clip(draws - np.median(draws) + observed, 0.0, 1.0)
    return moved


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Area under the ROC curve: chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    from scipy.stats import rankdata

    num_positive, num_negative = len(positive), len(negative)
    placed = rankdata([*positive, *negative], method="average")[:num_positive].sum()
    return float((placed - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def auc_draws(positive: Group, negative: Group, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Floats:
    """Draws [R] of the AUC, subjects of both groups resampled; empty where either has fewer than two."""
    one, two = clusters(positive.subjects), clusters(negative.subjects)
    if min(one.num_subjects, two.num_subjects) < 2:
        return np.empty(0)
    wins = _wins(positive, one, negative, two)
    counts_one = resample_counts(one.num_subjects, num_resamples=num_resamples, seed=seed)
    # Another seed: members and non-members are different people, drawn independently.
    counts_two = resample_counts(two.num_subjects, num_resamples=num_resamples, seed=seed + 1)
    num_one = counts_one @ np.bincount(one.codes, minlength=one.num_subjects)
    num_two = counts_two @ np.bincount(two.codes, minlength=two.num_subjects)
    draws: Floats = ((counts_one @ wins) * counts_two).sum(1) / (num_one * num_two)
    return draws


def _cumulative(group: Group, owners: Clusters, grid: Floats) -> Floats:
    """How many values of each subject are at most each grid value: float64 [C, len(grid)]."""
    table = np.zeros((owners.num_subjects, grid.size))
    np.add.at(table, (owners.codes, np.searchsorted(grid, group.values)), 1.0)
    return np.cumsum(table, axis=1)


def _distance(below_one: Floats, below_two: Floats) -> float:
    return float(np.abs(below_one / below_one[-1] - below_two / below_two[-1]).max())


def _wins(positive: Group, one: Clusters, negative: Group, two: Clusters) -> Floats:
    """Pairs won by each subject against each other, ties half: float64 [C, D]."""
    columns: list[Floats] = []
    values = np.asarray(positive.values)
    for code in range(two.num_subjects):
        rivals = np.sort(np.asarray(negative.values)[two.codes == code])
        below = np.searchsorted(rivals, values, side="left") + np.searchsorted(rivals, values, side="right")
        columns.append(np.bincount(one.codes, weights=below / 2.0, minlength=one.num_subjects).astype(np.float64))
    return np.stack(columns, axis=1)
