"""95 % intervals from leaving out one subject at a time, because the questions about one subject are not independent.

Every number here is a *value* with its *replicates*: by how much it moves without each subject. Their squares add up
to the variance (delete-one-cluster jackknife: Efron and Stein, Ann. Stat. 9, 1981), for a mean as for anything computed
from means, and numbers of the same subjects stay paired. The interval is Wilson's (J. Am. Stat. Assoc. 22, 1927) with
the effective number of questions that this variance stands for, and with Student's t in place of the normal quantile:
it respects the bounds of a rate and has a width where all scores are equal. Deterministic. `docs/intervals.md` has what
it covers in simulation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.types import Replicates

LEVEL = 0.95
MIN_SUBJECTS = 4
"""With fewer subjects nobody can tell how much they differ, so there is no interval."""
PRIOR_CORRELATION = 0.3
"""Correlation between the answers about one subject that is assumed where all scores are equal and show none."""


Floats = NDArray[np.float64]
# Values by name to the number that is made of them.
Formula = Callable[[Mapping[str, float]], float]


class Interval(NamedTuple):
    """Bounds of the 95 % interval, both None with a reason where there is none."""

    low: float | None
    high: float | None
    reason: str = ""


class Spread(NamedTuple):
    """Variance of a value, and how many standard errors its 95 % interval reaches."""

    variance: float
    quantile: float


def mean_replicates(
    values: Sequence[float], subjects: Sequence[str], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Replicates:
    """Replicates of the mean of all values, at least one, which lie in `bounds`; no shifts where there is one subject.

    Subjects with many values weigh more, so the degrees of freedom are those of Kish's effective number of subjects,
    (sum of sizes)^2 / sum of squared sizes, less one.
    """
    scores, names = np.asarray(values, dtype=np.float64), sorted(set(subjects))
    places = {name: place for place, name in enumerate(names)}
    codes = np.array([places[subject] for subject in subjects])
    sizes = np.bincount(codes).astype(np.float64)
    value, num = math.fsum(values) / len(values), len(names)
    if num < 2:
        return Replicates(value, num)
    centred = np.bincount(codes, weights=scores - value)
    shifts = -centred / (len(scores) - sizes) * math.sqrt((num - 1) / num)
    degrees = max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1.0)
    return Replicates(
        value,
        num,
        shifts=dict(zip(names, shifts.tolist(), strict=True)),
        degrees=dict.fromkeys(names, degrees),
        floor=_mean_floor(scores, num_subjects=num, width=bounds[1] - bounds[0]),
    )


def derived(formula: Formula, parts: Mapping[str, Replicates]) -> Replicates:
    """Replicates of what `formula` makes of some numbers, at least one; it is called once for every subject.

    Args:
        formula: takes a value for each key of `parts`; it may be called slightly outside of what the values can be.
        parts: numbers by name; one that stands under two names (the same object) is one number.
    """
    values = {key: part.value for key, part in parts.items()}
    value = formula(values)

    def shift(subject: str) -> float:
        moved = {key: part.value + part.shifts.get(subject, 0.0) for key, part in parts.items()}
        return formula(moved) - value

    def hidden(part: Replicates) -> float:
        error, keys = math.sqrt(part.floor), [key for key in parts if parts[key] is part]
        moved = [{**values, **dict.fromkeys(keys, part.value + step)} for step in (-error, error)]
        return max(abs(formula(one) - value) for one in moved)

    ends = [
        value,
        formula({key: part.value if part.least is None else part.least for key, part in parts.items()}),
        formula({key: part.value if part.most is None else part.most for key, part in parts.items()}),
    ]
    subjects = sorted({subject for part in parts.values() for subject in part.shifts})
    return Replicates(
        value,
        min(part.num_subjects for part in parts.values()),
        shifts={subject: shift(subject) for subject in subjects},
        degrees={name: min(p.degrees[name] for p in parts.values() if name in p.degrees) for name in subjects},
        floor=math.fsum(hidden(part) ** 2 for part in {id(part): part for part in parts.values()}.values()),
        least=min(ends),
        most=max(ends),
    )


def floor_of(num_values: int, num_subjects: int, *, variance: float | Floats) -> Floats:
    """Variance of a mean in [0, 1] that its replicates may hide, like `variance`: (design effect / N)^2.

    As many right answers of as many are no proof of 1. N answers stand for N / design effect independent ones (Kish,
    Survey Sampling, 1965), and one of those may be at the other end. The correlation in the design effect is assumed
    where all scores are equal, and fades with their variance: at 1/4, half of them at each end, it is 0.

    Args:
        variance: of the scores about their mean, at most 1/4; any shape.
    """
    correlation = PRIOR_CORRELATION * np.maximum(0.0, 1.0 - 4.0 * np.asarray(variance))
    floor: Floats = ((1.0 + correlation * max(0.0, num_values / num_subjects - 1.0)) / num_values) ** 2
    return floor


def _mean_floor(scores: Floats, *, num_subjects: int, width: float) -> float:
    """`floor_of` for scores between bounds that are `width` apart; none without bounds."""
    if not math.isfinite(width):
        return 0.0
    return float(floor_of(len(scores), num_subjects, variance=scores.var() / width**2)) * width**2


def spread(replicates: Replicates) -> Spread:
    """How far the value may lie from the true one, with the subjects of sets of unlike sizes kept apart."""
    return joined([(variance, student_quantile(degrees)) for variance, degrees in parts_of(replicates)])


def parts_of(replicates: Replicates) -> list[tuple[float, float]]:
    """The independent parts of a value's variance, each with its degrees of freedom."""
    by_degrees: dict[float, float] = defaultdict(float)
    for subject, shift in replicates.shifts.items():
        by_degrees[replicates.degrees[subject]] += shift * shift
    return [*((variance, degrees) for degrees, variance in by_degrees.items()), (replicates.floor, math.inf)]


def joined(parts: Sequence[tuple[float, float]]) -> Spread:
    """The spread of a sum of independent parts, each with its variance and the quantile of its degrees of freedom.

    Half-widths add up by squares (Howe, J. Am. Stat. Assoc. 69, 1974): unlike degrees of freedom by Satterthwaite, this
    covers where the part with the fewest degrees dominates.
    """
    variance = math.fsum(found for found, _ in parts)
    squares = math.fsum(found * quantile**2 for found, quantile in parts)
    return Spread(variance, math.sqrt(squares / variance) if variance > 0.0 else 0.0)


def interval(replicates: Replicates, *, bounds: tuple[float, float]) -> Interval:
    """The 95 % interval of a number that lies in `bounds`; none with fewer than four subjects."""
    if replicates.num_subjects < MIN_SUBJECTS:
        return Interval(None, None, no_interval(replicates.num_subjects))
    return around(replicates, found=spread(replicates), bounds=bounds)


def no_interval(num_subjects: int) -> str:
    """That there is no interval of so few subjects."""
    return f"no interval: {too_few(num_subjects)}"


def too_few(num_subjects: int) -> str:
    """Why there is no interval."""
    return f"too few subjects ({num_subjects}; at least {MIN_SUBJECTS} are needed)"


def around(replicates: Replicates, *, found: Spread, bounds: tuple[float, float]) -> Interval:
    """The interval around a value, from `least` downwards and from `most` upwards. The value always lies in it."""
    value = replicates.value
    least = value if replicates.least is None else replicates.least
    most = value if replicates.most is None else replicates.most
    low = _wilson(least, found=found, bounds=bounds)[0]
    high = _wilson(most, found=found, bounds=bounds)[1]
    return Interval(min(low, value), max(high, value))


def student_quantile(degrees: float) -> float:
    """Upper 2.5 % point of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))


def _wilson(value: float, *, found: Spread, bounds: tuple[float, float]) -> tuple[float, float]:
    """Solves |p - value| = quantile * sqrt(p (1 - p) / n) for p, on the scale where `bounds` are 0 and 1.

    n makes the standard error at the value what was found; near a bound the error at one standard error from it counts.
    Without two finite bounds it is value -+ quantile * error.
    """
    error, quantile = math.sqrt(found.variance), found.quantile
    lowest, highest = bounds
    if error == 0.0:
        return value, value
    if not math.isfinite(highest - lowest):
        return max(lowest, value - quantile * error), min(highest, value + quantile * error)
    width = highest - lowest
    share, unit = min(1.0, max(0.0, (value - lowest) / width)), min(0.5, error / width)
    inner = min(1.0 - unit, max(unit, share))
    ratio = quantile**2 * (error / width) ** 2 / (inner * (1.0 - inner))
    centre = (share + ratio / 2.0) / (1.0 + ratio)
    half = math.sqrt(ratio * share * (1.0 - share) + ratio**2 / 4.0) / (1.0 + ratio)
    return lowest + width * max(0.0, centre - half), lowest + width * min(1.0, centre + half)
