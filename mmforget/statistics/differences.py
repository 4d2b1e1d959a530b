"""By how much two models, or two methods with several seeds each, differ in one number on the same subjects.

The models answered the same questions, so the difference is computed without each subject in turn (`jackknife`), and
what makes a subject easy for both cancels out. Trainings with several seeds add the variance between the seeds of each
side. The p value is that of `excess`: it is below .05 where the 95 % interval leaves out 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mmforget.statistics.excess import p_value
from mmforget.statistics.jackknife import MIN_SUBJECTS, around, derived, joined, no_interval, parts_of, student_quantile
from mmforget.statistics.seeds import mean_over_seeds, variance_of_seeds
from mmforget.types import Replicates


class Difference(NamedTuple):
    """The second number less the first.

    Attributes:
        first, second: the numbers, each a mean over the seeds of its side.
        low, high: 95 % interval of the difference; None, with a reason, where there is none.
        p_value: two-sided, of no difference at all; None where there is no interval.
        num_subjects: of the smaller side.
    """

    first: float
    second: float
    value: float
    low: float | None
    high: float | None
    p_value: float | None
    num_subjects: int
    reason: str = ""


def difference(first: Sequence[Replicates], second: Sequence[Replicates], *, bounds: tuple[float, float]) -> Difference:
    """The second number less the first, each of one training or of several seeds, on the same subjects.

    Args:
        bounds: smallest and largest value that the number can take; may be infinite.
    """
    found = _less(mean_over_seeds(first), mean_over_seeds(second))
    numbers = (mean_over_seeds(first).value, mean_over_seeds(second).value, found.value)
    if found.num_subjects < MIN_SUBJECTS:
        return Difference(*numbers, None, None, None, found.num_subjects, no_interval(found.num_subjects))
    parts = [*parts_of(found), *(_of_seeds(side) for side in (first, second) if len(side) > 1)]
    spread = joined([(variance, student_quantile(degrees)) for variance, degrees in parts])
    width = bounds[1] - bounds[0]
    limits = (-width, width)
    interval = around(found, found=spread, bounds=limits)
    tested = _nearest_to_zero(found)
    p = p_value(tested, null=0.0, parts=parts, bounds=limits)
    return Difference(*numbers, interval.low, interval.high, p, found.num_subjects)


def _less(first: Replicates, second: Replicates) -> Replicates:
    """Replicates of second - first; where either was cut off, the true difference may lie on both sides."""
    found = derived(lambda values: values["second"] - values["first"], {"first": first, "second": second})
    return replace(found, least=_least(second) - _most(first), most=_most(second) - _least(first))


def _least(one: Replicates) -> float:
    return one.value if one.least is None else one.least


def _most(one: Replicates) -> float:
    return one.value if one.most is None else one.most


def _of_seeds(seeds: Sequence[Replicates]) -> tuple[float, float]:
    return variance_of_seeds(seeds), len(seeds) - 1.0


def _nearest_to_zero(found: Replicates) -> float:
    """Of all values that an uncut difference may have, the one that speaks least for a difference."""
    least, most = _least(found), _most(found)
    return 0.0 if least <= 0.0 <= most else math.copysign(min(abs(least), abs(most)), found.value)
