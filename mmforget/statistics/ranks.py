"""How far one number orders things as another does: Spearman's rank correlation, with ties, and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.statistics.jackknife import LEVEL

NUM_DRAWS = 1000
MIN_LEVELS = 3
"""Of fewer different values nobody can say how they are ordered."""

Floats = NDArray[np.float64]


class Correlation(NamedTuple):
    """The correlation with its 95 % interval, all None with a reason where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def spearman(values: Sequence[float], truths: Sequence[float]) -> Correlation:
    """Spearman's rho of pairs, equal ones having the mean of their ranks; of an interval by bootstrap over the pairs.

    Seeded: the same pairs have the same interval. There is none of truths with fewer than three levels, nor of values
    that are all the same.
    """
    if len(set(truths)) < MIN_LEVELS:
        return Correlation(None, reason=f"no correlation: fewer than {MIN_LEVELS} different truths")
    if len(set(values)) < 2:
        return Correlation(None, reason="no correlation: all values are the same")
    pairs = np.array([values, truths], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(values), size=(NUM_DRAWS, len(values)))
    rhos = _rhos(pairs[0][drawn], pairs[1][drawn])
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(rhos[np.isfinite(rhos)], [tail, 1.0 - tail])
    value = float(_rhos(pairs[:1], pairs[1:])[0])
    return Correlation(value, min(value, float(low)), max(value, float(high)))


def _rhos(values: Floats, truths: Floats) -> Floats:
    """Of rows [R, N] against rows [R, N]: float64 [R]; NaN where one of them is constant."""
    from scipy.stats import rankdata

    ours, theirs = (rankdata(side, axis=1) - (values.shape[1] + 1) / 2 for side in (values, truths))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (ours * theirs).sum(axis=1) / np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum(axis=1))
    return found
