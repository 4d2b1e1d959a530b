"""Differences of two models on the same subjects: beside scipy's paired t test, and by hand over seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mmforget.statistics.differences import difference
from mmforget.statistics.jackknife import mean_replicates
from mmforget.types import Replicates

ENDLESS = (-math.inf, math.inf)
PEOPLE = ("a", "b", "c", "d", "e", "f")


def means(scores: list[float], *, bounds: tuple[float, float] = ENDLESS) -> Replicates:
    return mean_replicates(scores, PEOPLE, bounds=bounds)


def test_without_bounds_it_is_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(0.0, 3.0, size=6).tolist()
    second = [value + shift for value, shift in zip(first, generator.normal(0.5, 0.4, size=6), strict=True)]
    found = difference([means(first)], [means(second)], bounds=ENDLESS)
    test = stats.ttest_rel(second, first)
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-6)
    assert found.value == pytest.approx(np.mean(second) - np.mean(first))
    assert (found.num_subjects, found.reason) == (6, "")


def test_what_both_find_hard_cancels_out() -> None:
    """The people differ by far more than the models do, each of whom is a tenth better in the second: surely better."""
    first = [0.1, 0.2, 0.4, 0.6, 0.7, 0.8]
    found = difference([means(first)], [means([one + 0.1 for one in first])], bounds=ENDLESS)
    assert found.value == pytest.approx(0.1)
    assert found.p_value is not None
    assert found.p_value < 1e-6


def test_the_interval_and_the_p_value_say_the_same() -> None:
    for shift in (0.02, 0.1, 0.2, 0.4, 0.6):
        first = [0.0, 0.1, 0.0, 0.2, 0.1, 0.3]
        second = [min(1.0, one + shift * (1 + number % 3) / 2) for number, one in enumerate(first)]
        rates = (0.0, 1.0)
        found = difference([means(first, bounds=rates)], [means(second, bounds=rates)], bounds=rates)
        assert found.low is not None
        assert found.p_value is not None
        assert (found.low > 0.0) == (found.p_value < 0.05)


def test_a_model_differs_from_itself_by_nothing() -> None:
    rates = (0.0, 1.0)
    for scores in ([0.0] * 6, [0.0, 0.5, 1.0, 1.0, 0.2, 0.3]):
        same = means(scores, bounds=rates)
        found = difference([same], [same], bounds=rates)
        assert (found.value, found.p_value) == (0.0, 1.0)
        assert found.low is not None
        assert found.high is not None
        assert found.low <= 0.0 <= found.high


def test_over_seeds_by_hand() -> None:
    """Seeds at .2 and .4 against .8 and .9 on people who are all alike: variances of the means .01 and .0025, each
    with one degree of freedom, so that half the interval is 12.7062 * sqrt(.0125) = 1.42060.
    """
    sides = [[means([value] * 6) for value in side] for side in ((0.2, 0.4), (0.8, 0.9))]
    found = difference(*sides, bounds=ENDLESS)
    assert (found.first, found.second, found.value) == (pytest.approx(0.3), pytest.approx(0.85), pytest.approx(0.55))
    assert found.low == pytest.approx(0.55 - 1.42060, abs=1e-4)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.55 / math.sqrt(0.0125), 1), rel=1e-6)


def test_few_people_give_no_interval() -> None:
    few = mean_replicates([0.0, 1.0, 1.0], ["a", "b", "c"])
    found = difference([few], [few], bounds=(0.0, 1.0))
    assert (found.low, found.p_value, found.num_subjects) == (None, None, 3)
    assert found.reason == "no interval: too few subjects (3; at least 4 are needed)"


def test_a_number_that_was_cut_off_may_lie_on_the_other_side() -> None:
    """1 that may be 1.2 against .9: the difference of -.1 may be -.3; the other way round it speaks for less."""
    cut, other = replace(means([1.0] * 6), most=1.2), means([0.9] * 6)
    wide = replace(other, floor=1e-4)
    found = difference([cut], [wide], bounds=ENDLESS)
    assert found.value == pytest.approx(-0.1)
    assert found.low == pytest.approx(-0.3 - 1.959964 * 0.01, abs=1e-6)
    assert found.high == pytest.approx(-0.1 + 1.959964 * 0.01, abs=1e-6)
