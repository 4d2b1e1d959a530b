"""Ranks and rank correlations that know about ties, so that equal scores are never told apart.

Broken by list order, ties make up agreement between metrics that say nothing: constant scores "agree" perfectly. Here
equal values share their average rank, and a constant or very short list has no correlation with anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

TOLERANCE = 1e-12
MIN_PAIRS = 3


class Correlation(NamedTuple):
    """Kendall's tau-b in [-1, 1], or None with a reason; `num` is the number of pairs of values used."""

    value: float | None
    num: int
    reason: str = ""


def is_constant(values: Iterable[float]) -> bool:
    """True where two or more values are all equal but for rounding."""
    found = list(values)
    return len(found) > 1 and (min(found) == max(found) or max(found) - min(found) <= TOLERANCE)


def ranks(values: Mapping[str, float | None], *, higher_is_better: bool) -> dict[str, float | None]:
    """Rank of every name, 1 for the best; equal values share the average of their places, no value has no rank."""
    from scipy.stats import rankdata

    present = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
    sign = -1.0 if higher_is_better else 1.0
    placed = rankdata([sign * value for value in present.values()], method="average")
    by_name = dict(zip(present, placed, strict=True))
    return {name: float(by_name[name]) if name in by_name else None for name in values}


def rank_correlation(first: Sequence[float | None], second: Sequence[float | None]) -> Correlation:
    """Kendall's tau-b of two aligned lists, corrected for ties (Kendall 1945). None where either is constant."""
    from scipy.stats import kendalltau

    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if len(pairs) < MIN_PAIRS:
        return Correlation(None, len(pairs), f"fewer than {MIN_PAIRS} pairs of values")
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if is_constant(left) or is_constant(right):
        return Correlation(None, len(pairs), "all values are the same")
    return Correlation(float(kendalltau(left, right, variant="b").statistic), len(pairs))
