"""95 % intervals by resampling subjects, because the questions about one subject are not independent.

R resamples, C subjects, N values. A resample draws C subjects with replacement and takes all their values, so a subject
drawn twice counts twice. Percentile intervals (Efron and Tibshirani 1993, chapter 13); the clustered form is the
"cluster bootstrap" of Field and Welsh, J. R. Stat. Soc. B 69 (2007). Seeded: the same call gives the same interval, and
two calls on the same subjects with one seed draw the same resamples, so that their difference is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 2000
LEVEL = 0.95
ONE_SUBJECT = "no interval: it needs at least two subjects"

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Bounds of the 95 % interval, both None with a reason where there is none."""

    low: float | None
    high: float | None
    reason: str = ""


class Difference(NamedTuple):
    """A paired difference of means, `first` minus `second`, with its interval and the number of pairs used."""

    value: float | None
    low: float | None
    high: float | None
    num_pairs: int
    reason: str = ""


class Clusters(NamedTuple):
    """Which subject every value belongs to.

    Attributes:
        codes: int [N], index of the subject of each value.
        num_subjects: C.
    """

    codes: NDArray[np.intp]
    num_subjects: int


def clusters(subjects: Sequence[str]) -> Clusters:
    """Codes of the subjects in sorted order of their names, so that equal sets of subjects get equal codes."""
    names, codes = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    return Clusters(codes.astype(np.intp).reshape(-1), len(names))


def resample_counts(num_clusters: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Floats:
    """How often each subject is drawn: float64 [R, C], every row sums to C."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(num_clusters, np.full(num_clusters, 1.0 / num_clusters), size=num_resamples)
    return drawn.astype(np.float64)


def mean_draws(
    values: Sequence[float], subjects: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Floats:
    """Bootstrap draws [R] of the mean of all values; empty with fewer than two subjects."""
    groups = clusters(subjects)
    if groups.num_subjects < 2:
        return np.empty(0)
    sums = np.bincount(groups.codes, weights=np.asarray(values, dtype=np.float64), minlength=groups.num_subjects)
    sizes = np.bincount(groups.codes, minlength=groups.num_subjects).astype(np.float64)
    counts = resample_counts(groups.num_subjects, num_resamples=num_resamples, seed=seed)
    draws: Floats = (counts @ sums) / (counts @ sizes)
    return draws


def percentile_interval(draws: Floats) -> Interval:
    """The central 95 % of the draws. Draws that are not finite are left out; none left means no interval."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return Interval(None, None, ONE_SUBJECT)
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def mean_interval(values: Sequence[float], subjects: Sequence[str], *, seed: int = 0) -> Interval:
    """Interval of the mean. Where all values are equal it has no width; the estimate is then marked constant."""
    return percentile_interval(mean_draws(values, subjects, seed=seed))


def paired_difference(
    first: Sequence[float | None], second: Sequence[float | None], *, subjects: Sequence[str], seed: int = 0
) -> Difference:
    """Mean of `first[i] - second[i]` over the pairs that both have a value, with its interval.

    The three sequences are aligned: the same question at the same place. Raises ValueError where lengths differ.
    """
    triples = zip(first, second, subjects, strict=True)
    pairs = [(a - b, subject) for a, b, subject in triples if a is not None and b is not None]
    if not pairs:
        return Difference(None, None, None, 0, "no pair in which both have a score")
    differences = [difference for difference, _ in pairs]
    interval = mean_interval(differences, [subject for _, subject in pairs], seed=seed)
    return Difference(float(np.mean(differences)), interval.low, interval.high, len(pairs), interval.reason)
