"""Intervals from leaving out subjects: values worked by hand, and by independent formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import betabinom, binomtest, ttest_1samp
from scipy.stats import t as student

from mmforget.statistics.jackknife import MIN_SUBJECTS, floor_of, interval, mean_replicates, spread
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


def test_equal_scores_hide_one_of_the_independent_answers_they_stand_for() -> None:
    """80 of 4 subjects: design effect 1 + .3 x 19 = 6.7, so one of 80 / 6.7. Wilson's upper end from 0 with the error
    u = .08375 is k / (1 + k), k = 1.96^2 u / (1 - u) = .3511."""
    found = mean_replicates([0.0] * 80, [str(i % 4) for i in range(80)])
    assert found.floor == pytest.approx((6.7 / 80) ** 2)
    assert interval(found, bounds=(0.0, 1.0)).high == pytest.approx(0.3511 / 1.3511, abs=1e-4)


def test_what_scores_hide_fades_as_they_differ() -> None:
    """Half at each end: one of N answers. One right of ten: .3 x (1 - 4 x .09) = .192, 1 + .192 x 19 = 4.648."""
    subjects = [str(i % 4) for i in range(80)]
    assert mean_replicates([float(i < 40) for i in range(80)], subjects).floor == pytest.approx(1 / 80**2)
    assert mean_replicates([float(i < 8) for i in range(80)], subjects).floor == pytest.approx((4.648 / 80) ** 2)
    assert mean_replicates([0.5] * 80, subjects).floor == pytest.approx((6.7 / 80) ** 2)
    assert floor_of(80, 4, variance=np.array([0.0, 0.25])) == pytest.approx([(6.7 / 80) ** 2, 1 / 80**2])


def test_what_scores_hide_is_on_the_scale_of_their_bounds() -> None:
    subjects = [str(i % 4) for i in range(80)]
    narrow = mean_replicates([float(i < 8) for i in range(80)], subjects)
    wide = mean_replicates([10.0 * (i < 8) for i in range(80)], subjects, bounds=(0.0, 10.0))
    assert wide.floor == pytest.approx(100.0 * narrow.floor)
    assert mean_replicates([1.0] * 80, subjects, bounds=ENDLESS).floor == 0.0


@pytest.mark.parametrize("num_subjects", [4, 8, 20, 40])
def test_no_right_answer_leaves_room_for_subjects_who_were_not_asked_about(num_subjects: int) -> None:
    """At a correlation of .5, the rate at which 20 answers about each subject are all wrong in one of 40 samples."""

    def surplus(rate: float) -> float:
        wrong: float = betabinom.pmf(0, 20, rate, 1.0 - rate) ** num_subjects
        return wrong - 0.025

    exact = brentq(surplus, 1e-6, 1.0 - 1e-6)
    found = interval(
        mean_replicates([0.0] * 20 * num_subjects, [str(i % num_subjects) for i in range(20 * num_subjects)]),
        bounds=(0.0, 1.0),
    )
    assert found.high is not None
    assert exact < found.high < 1.3 * exact


@pytest.mark.parametrize("num_subjects", [8, 20])
def test_rare_subjects_are_covered(num_subjects: int) -> None:
    """Rates of .1 at a correlation of .5 (beta .1, .9): in many samples hardly any subject knows anything."""
    generator, hits, rounds = np.random.default_rng(6), 0, 600
    subjects = np.repeat([f"s{i}" for i in range(num_subjects)], 20).tolist()
    for _ in range(rounds):
        rates = np.repeat(generator.beta(0.1, 0.9, size=num_subjects), 20)
        found = interval(mean_replicates((generator.random(rates.size) < rates).tolist(), subjects), bounds=(0.0, 1.0))
        hits += found.low <= 0.1 <= found.high  # type: ignore[operator]
    assert hits / rounds >= 0.92


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
