"""From scores to one estimate: mean, interval, counts, and why samples could not be scored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from mmforget.metrics.base import Declared
from mmforget.metrics.bootstrap import Interval, mean_interval
from mmforget.metrics.rank import is_constant
from mmforget.types import Estimate, Score


def mean_estimate(metric: Declared, scores: Sequence[Score]) -> Estimate:
    """Mean over the scored samples with a 95 % interval by subject; value None where nothing could be scored."""
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    reasons = unscored_reasons(scores)
    if not scored:
        return no_estimate(metric, reasons=reasons or ("no samples",), num_unscored=len(scores))
    values = [value for value, _ in scored]
    interval = mean_interval(values, [subject for _, subject in scored])
    return Estimate(
        value=math.fsum(values) / len(values),
        low=interval.low,
        high=interval.high,
        num_scored=len(values),
        num_unscored=len(scores) - len(values),
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        constant=is_constant(values),
        reasons=with_reason(reasons, interval),
    )


def no_estimate(metric: Declared, *, reasons: Sequence[str], num_unscored: int = 0) -> Estimate:
    """An estimate without a value, saying why."""
    return Estimate(
        value=None,
        num_unscored=num_unscored,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        reasons=tuple(reasons),
    )


def unscored_reasons(scores: Sequence[Score]) -> tuple[str, ...]:
    """Why samples are unscored, the most common reason first: `12 of 400 unscored: no keywords`."""
    counted = Counter(score.reason or "no reason given" for score in scores if score.value is None)
    return tuple(f"{count} of {len(scores)} unscored: {reason}" for reason, count in counted.most_common())


def with_reason(reasons: tuple[str, ...], interval: Interval) -> tuple[str, ...]:
    """The reasons, and why there is no interval where there is none."""
    return (*reasons, interval.reason) if interval.reason else reasons
