"""One number of several trained seeds that answered the same questions: mean, interval, and the share of the seeds.

Two things make such a mean uncertain: which subjects were asked about, and how training fell out. They are crossed:
every seed answered for every subject.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mmforget.statistics.jackknife import MIN_SUBJECTS, around, joined, no_interval, parts_of, spread, student_quantile
from mmforget.types import Replicates


class OverSeeds(NamedTuple):
    """A number over seeds.

    Attributes:
        value: mean over the seeds.
        low, high: 95 % interval over subjects and seeds; None, with a reason, where there is none.
        num_seeds, num_subjects: what it rests on; subjects of the smallest set.
        seed_share: share of the variance of `value` that is due to the seeds, in [0, 1]: what would be gone with
            infinitely many. None where there is no variance at all, and without an interval.
        reason: why there is no interval.
    """

    value: float
    low: float | None
    high: float | None
    num_seeds: int
    num_subjects: int
    seed_share: float | None
    reason: str = ""


def over_seeds(seeds: Sequence[Replicates], *, bounds: tuple[float, float] = (0.0, 1.0)) -> OverSeeds:
    """Mean over S >= 2 seeds with its interval over subjects and seeds.

    The variance has two parts: that of the mean over seeds by subject, and that of the seeds, s^2 / S less what of it
    is the chance of single answers, which the first part holds as well. That is estimated from how much less the mean
    over seeds varies by subject than each seed does. Their half-widths add up by squares, one with Student's t for the
    subjects and one for S - 1. A subject for which one seed has no answer that could be scored counts as not moving
    that seed's value.

    Args:
        seeds: one `Replicates` of the same number for each trained seed, on the same questions.
        bounds: smallest and largest value that the number can take.

    Raises ValueError with fewer than two seeds.
    """
    num_seeds = len(seeds)
    if num_seeds < 2:
        raise ValueError(f"{num_seeds} seed; the variance between seeds needs at least two")
    joint = mean_over_seeds(seeds)
    if joint.num_subjects < MIN_SUBJECTS:
        return OverSeeds(joint.value, None, None, num_seeds, joint.num_subjects, None, no_interval(joint.num_subjects))
    by_seed = variance_of_seeds(seeds)
    both = joined([spread(joint), (by_seed, student_quantile(num_seeds - 1.0))])
    found = around(joint, found=both, bounds=bounds)
    share = by_seed / both.variance if both.variance > 0.0 else None
    return OverSeeds(joint.value, found.low, found.high, num_seeds, joint.num_subjects, share)


def parts_over_seeds(seeds: Sequence[Replicates]) -> list[tuple[float, float]]:
    """The independent parts of the variance of a mean over S >= 2 seeds, each with its degrees of freedom."""
    return [*parts_of(mean_over_seeds(seeds)), (variance_of_seeds(seeds), len(seeds) - 1.0)]


def variance_of_seeds(seeds: Sequence[Replicates]) -> float:
    """What of the variance of the mean over S >= 2 seeds is due to the seeds."""
    joint = mean_over_seeds(seeds)
    num, by_subject = len(seeds), spread(joint).variance
    between = math.fsum((one.value - joint.value) ** 2 for one in seeds) / (num - 1) / num
    each = math.fsum(spread(one).variance for one in seeds) / num
    return max(0.0, between - max(0.0, each - by_subject) / (num - 1))


def mean_over_seeds(seeds: Sequence[Replicates]) -> Replicates:
    """Replicates of the mean over one seed or more: subject by subject, since all answered for the same ones."""
    subjects = sorted({subject for one in seeds for subject in one.shifts})
    return replace(
        seeds[0],
        value=_average([one.value for one in seeds]),
        num_subjects=min(one.num_subjects for one in seeds),
        shifts={name: _average([one.shifts.get(name, 0.0) for one in seeds]) for name in subjects},
        degrees={name: min(one.degrees[name] for one in seeds if name in one.degrees) for name in subjects},
        floor=_average([one.floor for one in seeds]),
        least=_average([one.value if one.least is None else one.least for one in seeds]),
        most=_average([one.value if one.most is None else one.most for one in seeds]),
    )


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
