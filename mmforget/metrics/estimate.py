"""From scores to one estimate: mean, interval, counts, and why samples could not be scored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mmforget.metrics.base import Declared
from mmforget.statistics.jackknife import interval, mean_replicates
from mmforget.types import Estimate, Replicates, Score

NO_NUMBER = "the score is not a number"
TOLERANCE = 1e-12
"""How far scores that are all the same may lie apart by rounding."""


def mean_estimate(metric: Declared, scores: Sequence[Score]) -> Estimate:
    """Mean over the scored samples with a 95 % interval by subject; value None where nothing could be scored.

    A score that is no number is none.
    """
    scores = [Score(None, one.subject, NO_NUMBER) if _is_nan(one.value) else one for one in scores]
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    reasons = unscored_reasons(scores)
    num_lacking = count_lacking(scores)
    num_unscored = len(scores) - len(scored) - num_lacking
    if not scored:
        why = reasons or ("no samples",)
        return no_estimate(metric, reasons=why, num_unscored=num_unscored, num_lacking=num_lacking)
    values = [value for value, _ in scored]
    replicates = mean_replicates(values, [subject for _, subject in scored], bounds=metric.range)
    found = Estimate(
        value=replicates.value,
        num_scored=len(values),
        num_unscored=num_unscored,
        num_lacking=num_lacking,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        constant=is_constant(values),
        reasons=reasons,
    )
    return with_interval(found, replicates)


def is_constant(values: Iterable[float]) -> bool:
    """True where two or more values are all equal but for rounding."""
    found = list(values)
    return len(found) > 1 and (min(found) == max(found) or max(found) - min(found) <= TOLERANCE)


def _is_nan(value: float | None) -> bool:
    return value is not None and math.isnan(value)


def with_interval(estimate: Estimate, replicates: Replicates, *, bounds: tuple[float, float] | None = None) -> Estimate:
    """The estimate with the 95 % interval of its replicates, or with the reason why there is none.

    Args:
        bounds: between which the uncertainty shrinks towards both ends; None are those of the estimate's range, which
            the interval never leaves in any case.
    """
    low, high, reason = interval(replicates, bounds=estimate.range if bounds is None else bounds)
    if low is None or high is None:
        return replace(estimate, num_subjects=replicates.num_subjects, reasons=(*estimate.reasons, reason))
    least, most = estimate.range
    return replace(estimate, low=max(least, low), high=min(most, high), num_subjects=replicates.num_subjects)


def no_estimate(metric: Declared, *, reasons: Sequence[str], num_unscored: int = 0, num_lacking: int = 0) -> Estimate:
    """An estimate without a value, saying why."""
    return Estimate(
        value=None,
        num_unscored=num_unscored,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        reasons=tuple(reasons),
        num_lacking=num_lacking,
    )


def count_lacking(scores: Sequence[Score]) -> int:
    """How many scores are of rows that have nothing to score against."""
    return sum(score.value is None and score.lacking for score in scores)


def count_unscored(scores: Sequence[Score]) -> int:
    """How many scores are missing though there was something to score against."""
    return sum(score.value is None and not score.lacking for score in scores)


def reasons_of_both(own: Sequence[Score], others: Sequence[Score], *, called: str) -> tuple[str, ...]:
    """Why samples of two groups have no score, those of the other group behind what it is called."""
    return unscored_reasons(own) + tuple(f"{called}: {reason}" for reason in unscored_reasons(others))


def unscored_reasons(scores: Sequence[Score]) -> tuple[str, ...]:
    """Why samples have no score, the most common reason first: `12 of 400 unscored: no response`.

    Of rows that have nothing to score against: `12 of 400 rows take no part: no keywords`.
    """
    counted = Counter(
        ("rows take no part" if score.lacking else "unscored", score.reason or "no reason given")
        for score in scores
        if score.value is None
    )
    return tuple(f"{count} of {len(scores)} {what}: {reason}" for (what, reason), count in counted.most_common())
