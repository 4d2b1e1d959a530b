"""Intervals from leaving out subjects: values worked by hand, and by independent formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from scipy.stats import t as student

from mmforget.statistics.jackknife import MIN_SUBJECTS, interval, mean_replicates, spread
from mmforget.types import Replicates

ENDLESS = (-math.inf, math.inf)


def test_shifts_are_scaled_means_without_a_subject() -> None:
    found = mean_replicates([1.0, 0.0, 0.5, 0.5], ["a", "a", "b", "c"], bounds=ENDLESS)
    assert (found.value, found.num_subjects) == (0.5, 3)
    root = math.sqrt(2 / 3)
    assert found.shifts == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0})
    found = mean_replicates([1.0, 1.0, 0.0, 0.0], ["a", "a", "b", "c"], bounds=ENDLESS)
    assert found.shifts == pytest.approx({"a": -0.5 * root, "b": (2 / 3 - 0.5) * root, "c": (2 / 3 - 0.5) * root})
    assert found.degrees["a"] == pytest.approx(16 / 6 - 1)


def test_variance_is_that_of_delete_one_subject() -> None:
    generator = np.random.default_rng(0)
    subjects = [f"p{index}" for index in generator.integers(0, 9, size=60)]
    values = generator.random(60)
    found, names = mean_replicates(values.tolist(), subjects, bounds=ENDLESS), sorted(set(subjects))
    left_out = [np.mean([v for v, s in zip(values, subjects, strict=True) if s != name]) for name in names]
    wanted = (len(names) - 1) / len(names) * np.sum((np.array(left_out) - values.mean()) ** 2)
    assert spread(found)[0] == pytest.approx(wanted)


def test_one_value_a_subject_without_bounds_is_the_t_interval() -> None:
    values = [2.0, -1.0, 0.5, 4.0, 3.5]
    found = interval(mean_replicates(values, list("abcde"), bounds=ENDLESS), bounds=ENDLESS)
    wanted = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_many_independent_answers_are_the_wilson_interval_of_a_binomial_share() -> None:
    """One answer a subject: the floor and Student's t are then a correction of the order 1 / n."""
    values = [1.0] * 900 + [0.0] * 2100
    found = interval(mean_replicates(values, [str(index) for index in range(3000)]), bounds=(0.0, 1.0))
    wanted = binomtest(900, 3000).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_equal_scores_at_a_bound_have_a_one_sided_interval(level: float) -> None:
    found = interval(mean_replicates([level] * 80, [str(i % 4) for i in range(80)]), bounds=(0.0, 1.0))
    assert found.low is not None
    assert found.high is not None
    assert (found.low if level == 0.0 else found.high) == level
    assert 0.05 < found.high - found.low < 0.6


def test_the_interval_never_leaves_the_bounds_and_holds_the_value() -> None:
    generator = np.random.default_rng(3)
    for _ in range(300):
        values = generator.beta(0.05, 0.3, size=40)
        replicates = mean_replicates(values.tolist(), [str(index % 5) for index in range(40)])
        found = interval(replicates, bounds=(0.0, 1.0))
        assert found.low is not None
        assert found.high is not None
        assert 0.0 <= found.low <= replicates.value <= found.high <= 1.0


def test_fewer_than_four_subjects_have_none_with_their_number() -> None:
    for num in range(1, MIN_SUBJECTS):
        found = interval(mean_replicates([0.2, 0.4, 0.9], [str(i % num) for i in range(3)]), bounds=(0.0, 1.0))
        assert found[:2] == (None, None)
        assert found.reason == f"no interval: too few subjects ({num}; at least 4 are needed)"
    assert interval(mean_replicates([0.2, 0.4, 0.9, 1.0], list("abcd")), bounds=(0.0, 1.0)).low is not None


def test_half_widths_of_two_sets_of_subjects_add_up_by_squares() -> None:
    found = Replicates(0.5, 4, {"a": 3.0, "b": 1.0, "x": 2.0}, {"a": 3.0, "b": 3.0, "x": 10.0})
    variance, quantile = spread(found)
    assert variance == 14.0
    assert quantile**2 * 14.0 == pytest.approx(10.0 * student.ppf(0.975, 3) ** 2 + 4.0 * student.ppf(0.975, 10) ** 2)


def test_least_and_most_move_one_end_each() -> None:
    plain = mean_replicates([0.1, 0.3, 0.5, 0.6], list("abcd"))
    low, high, _ = interval(plain, bounds=(0.0, 1.0))
    moved = interval(replace(plain, most=0.9), bounds=(0.0, 1.0))
    assert moved.low == low
    assert moved.high is not None
    assert high is not None
    assert moved.high > high
